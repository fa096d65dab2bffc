/** The event log in the simulated store: what workers/store/event-log.ts says in SQL, said again; and what must be in it. */
import { topics } from '../../catalog/topics.ts';
import type { OutboxRecord } from '../../workers/store/outbox.ts';
import type { SimulatedKafka } from './kafka.ts';
import type { SimulatedStore, Transaction } from './store.ts';

const topic = topics.externalEvents.name;
const idOf = ({ headers }: { readonly headers?: Readonly<Record<string, unknown>> }) =>
  String(headers?.ce_id);

export async function logPublished(trx: Transaction, records: readonly OutboxRecord[]): Promise<void> {
  const logged = records.filter((record) => record.topic === topic);
  if (logged.length === 0) return;
  await trx.statement(
    logged.map((record) => ['event', idOf(record)]),
    (rows) => {
      for (const record of logged) rows.set('event', idOf(record), String(record.value));
    },
  );
}

/** Each of the events that were decided has its row, and is told in the same words; nothing else is. */
export function wrongEventLog(
  store: SimulatedStore,
  kafka: SimulatedKafka,
  decided: ReadonlySet<string>,
): readonly string[] {
  const logged = new Set(store.keys('event'));
  const told = kafka.records(topic).map((record) => ({ id: idOf(record), value: String(record.value) }));
  const toldIds = new Set(told.map(({ id }) => id));
  return [
    ...[...decided].filter((id) => !logged.has(id)).map((id) => `${id}: not in the event log`),
    ...[...decided].filter((id) => !toldIds.has(id)).map((id) => `${id}: nothing told outside`),
    ...[...logged].filter((id) => !decided.has(id)).map((id) => `${id}: in the event log, and not decided`),
    ...told
      .filter(({ id, value }) => store.get('event', id) !== value)
      .map(({ id }) => `${id}: told outside otherwise than it was logged`),
  ];
}
