/**
 * Effects in the simulation: the platform's real consumer of events, with its retries and dead letters, and the pattern
 * that every capability stands on: effect, inbox row and outbox row in one transaction, a relay that publishes. Events
 * come in twice, handlers fail, the store goes down, processes die; then every event must have had one effect, or one
 * dead letter, and told of it.
 */
import { groups } from '../../catalog/groups.ts';
import { deadLetterTopic, retryTopics, topics } from '../../catalog/topics.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Understood } from '../../workers/kafka/apply.ts';
import { consume } from '../../workers/kafka/consume.ts';
import { eventRecord, readEvent } from '../../workers/kafka/records.ts';
import { type Life, silentLog, simulateKafka } from './kafka.ts';
import { processes } from './processes.ts';
import { appendOutbox, relayOutbox, unpublished } from './relay.ts';
import { settled } from './settled.ts';
import { simulateStore, type Transaction } from './store.ts';
import type { World } from './world.ts';

export const effectsBugs = [
  'commitBeforeHandling',
  'sendErrorsSwallowed',
  'noInbox',
  'effectOutsideTransaction',
  'inboxOutsideTransaction',
  'toldBeforeCommit',
  'outboxForgottenBeforeAck',
  'outboxDeletedByRange',
  'waitsUnseen',
] as const;
export type EffectsBug = (typeof effectsBugs)[number];

const group = groups.outsideEvents;
const input = topics.externalEvents;
const output = 'effects-told';
const refusedAbove = 950;

/** Runs one scenario; resolves to what is wrong with the outcome. */
export async function effectsScenario(world: World, bug?: EffectsBug): Promise<readonly string[]> {
  const bugs = bug === undefined ? {} : { [bug]: true };
  const kafka = simulateKafka(world, 2, bugs);
  const store = simulateStore(world, bugs);
  const inOrder = world.chance(0.5);
  /** Sent event ids with their amounts. */
  const sent = new Map<string, number>();
  const poison: string[] = [];
  const workers = processes(world, { name: 'worker', most: 2, begin });

  async function begin(life: Life, fail: (error: Error) => void): Promise<void> {
    const port = kafka.client(life);
    const producer = await port.producer('told');
    await consume<{ amount: number }>(port, {
      group,
      log: silentLog,
      ...(inOrder ? { atOnce: world.pick([1, 3, 500]) } : { concurrency: 3 }),
      onFatal: fail,
      parse(record) {
        const value = JSON.parse(record.value!.toString()) as { amount?: unknown };
        if (typeof value.amount !== 'number') throw new MusterError('MUSTER_NOT_UNDERSTOOD', 'no amount');
        return { amount: value.amount };
      },
      async apply(records) {
        for (const one of records) await handle(one);
        return undefined;
      },
    });

    async function handle({ data, record }: Understood<{ amount: number }>): Promise<void> {
      const event = readEvent(record);
      if (world.chance(0.1)) throw new Error('the handler fails');
      const effect = (trx: Transaction) =>
        trx.statement(
          [
            ['effects', event.id],
            ['total', 'sum'],
          ],
          (rows) => {
            rows.set('effects', event.id, (rows.get<number>('effects', event.id) ?? 0) + 1);
            rows.set('total', 'sum', (rows.get<number>('total', 'sum') ?? 0) + data.amount);
          },
        );
      /** As once(): false when it was handled before. */
      const first = (trx: Transaction) =>
        trx.statement([['inbox', event.id]], (rows) => {
          if (rows.get('inbox', event.id) !== undefined) return false;
          rows.set('inbox', event.id, true);
          return true;
        });
      const known = (trx: Transaction) =>
        trx.statement([], (rows) => rows.get('inbox', event.id) !== undefined);
      const told = { topic: output, key: event.id, value: event.id };
      if (bug === 'toldBeforeCommit') await producer.send([told]);
      if (bug === 'effectOutsideTransaction') {
        if (await store.transaction(life, known)) return;
        await store.transaction(life, effect);
      }
      await store.transaction(life, async (trx) => {
        if (bug === 'inboxOutsideTransaction') {
          if (await known(trx)) return;
        } else if (bug !== 'noInbox' && !(await first(trx))) return;
        // Refused for good: a dead letter, after all its retries.
        if (data.amount > refusedAbove) throw new MusterError('MUSTER_REFUSED', 'too much');
        if (bug !== 'effectOutsideTransaction') await effect(trx);
        if (bug !== 'toldBeforeCommit') await appendOutbox(trx, [told]);
      });
      if (bug === 'inboxOutsideTransaction') await store.transaction(life, first);
    }

    relayOutbox(world, { life, store, producer }, bugs);
  }

  async function comesIn(): Promise<void> {
    for (let count = world.int(10, 40); count > 0; count -= 1) {
      await world.sleep(world.int(0, 300));
      const partition = world.int(0, kafka.partitions - 1);
      if (world.chance(0.05)) {
        const bad = `{"amount":"${poison.length}"}`;
        poison.push(bad);
        kafka.append(input.name, partition, { key: null, value: bad });
        continue;
      }
      const id = `event-${sent.size}`;
      const amount = world.int(1, 1_000);
      sent.set(id, amount);
      const times = world.chance(0.2) ? 2 : 1;
      for (let time = 0; time < times; time += 1) {
        const record = eventRecord({
          topic: input.name,
          key: id,
          type: 'Effect',
          source: '/simulation',
          id,
          timeMs: world.now(),
          data: { amount },
        });
        kafka.append(input.name, partition, { key: id, value: record.value, headers: record.headers ?? {} });
      }
    }
  }

  async function trouble(): Promise<void> {
    for (let count = world.int(0, 4); count > 0; count -= 1) {
      await world.sleep(world.int(100, 4_000));
      await workers.trouble(['kill', 'kill', 'freeze']);
    }
  }

  workers.start();
  await Promise.all([comesIn(), trouble(), store.trouble()]);
  for (const one of [kafka, store, workers]) one.heal();
  const retried = retryTopics(input, group).map(({ name }) => name);
  await settled(world, {
    kafka,
    reads: [{ group: group.id, topics: [input.name, ...retried] }],
    open: () => unpublished(world, store),
  });
  return [...wrongs(), ...workers.gaveUp()];

  function wrongs(): string[] {
    const found: string[] = [];
    const letters = kafka.records(deadLetterTopic(input).name).map(({ value }) => value!.toString());
    const lettersOf = new Set(
      kafka.records(deadLetterTopic(input).name).map(({ headers }) => headers.ce_id?.toString()),
    );
    const told = new Set(kafka.records(output).map(({ value }) => value!.toString()));
    let sum = 0;
    for (const [id, amount] of sent) {
      const effects = store.get<number>('effects', id) ?? 0;
      if (effects > 1) found.push(`${id}: ${effects} effects`);
      if (effects === 0 && !lettersOf.has(id)) found.push(`${id}: lost`);
      if (effects > 0 && amount > refusedAbove) found.push(`${id}: refused, and had its effect`);
      if (effects > 0 && !told.has(id)) found.push(`${id}: had its effect, and nobody was told`);
      if (effects === 0 && told.has(id)) found.push(`${id}: was told, and had no effect`);
      sum += effects === 0 ? 0 : amount;
    }
    if ((store.get<number>('total', 'sum') ?? 0) !== sum)
      found.push('the total is not the sum of the effects');
    for (const bad of poison) if (!letters.includes(bad)) found.push(`no dead letter for ${bad}`);
    return found;
  }
}
