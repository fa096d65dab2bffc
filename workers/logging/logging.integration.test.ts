/** The way of a log line, over a real Kafka and a real store: LOG_STORE_URL names it. */
import { randomUUID } from 'node:crypto';
import { Writable } from 'node:stream';
import test from 'ava';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { createLog, silentLog } from '../base/log.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { connectKafka } from '../kafka/kafkajs.ts';
import { createTopics, eventually, testBrokers, uniqueName } from '../kafka/testing.ts';
import { startLogPublisher } from '../platform/log-publisher.ts';
import { startLogStore } from './log-store.ts';
import { logsStored } from './promises.ts';
import { type LogStore, victoriaLogs } from './victorialogs.ts';

const logStoreUrl = process.env.LOG_STORE_URL!;

/** A topic, a process that logs to it, and who stores it. */
async function world() {
  const topic = { ...topics.logs, name: uniqueName('logs') };
  await createTopics([topic, { ...topic, name: `${topic.name}.dlq` }]);
  const kafka = connectKafka({ brokers: testBrokers(), clientId: 'logging-test', log: silentLog() });
  const group = {
    ...groups.logStore,
    id: uniqueName('group'),
    topics: [topic],
  };
  const process = uniqueName('process').replaceAll('.', '-');
  const publisher = startLogPublisher({
    topic: topic.name,
    process,
    registry: emptyRegistry(),
    onDropped: () => undefined,
  });
  const stored = victoriaLogs(logStoreUrl);
  const store = (kafka: Kafka, through: LogStore = stored, as = group) =>
    startLogStore(kafka, {
      group: as,
      store: through,
      write: () => undefined,
      registry: emptyRegistry(),
      log: silentLog(),
      onFatal: (error) => {
        throw error;
      },
      durableAfterMs: 500,
    });
  const stores = (lines: number) =>
    eventually(`${lines} lines are stored`, async () => (await rows(stored, process)).length === lines);
  return { topic, group, process, kafka, publisher, stored, store, stores };
}

const rows = async (store: LogStore, process: string) =>
  store.query(`{process=${JSON.stringify(process)}} | sort by (_time)`);

test('what a process logs is found in the store, once and in order, by trace and by pseudonym, without a user id', async (t) => {
  t.timeout(120_000);
  const { topic, group, process, kafka, publisher, stored, store, stores } = await world();
  const lines: string[] = [];
  const log = createLog({
    process,
    level: 'info',
    stream: new Writable({ write: (_chunk, _encoding, next) => next() }),
    publish: (line, level) => {
      lines.push(line);
      publisher.take(line, level);
    },
  });
  const trace = randomUUID().replaceAll('-', '');
  const pseudonym = `u_${'Zz-9'.repeat(5)}_A`;
  log.warn('stock is low', { trace_id: trace, userId: 'kim-9321' });
  log.error('refused', { error: new Error('userId=kim-9321'), user: pseudonym });
  for (let i = 0; i < 3_000; i++) log.info(`line ${i}`, { i });
  await publisher.connect(kafka);
  const first = await store(kafka);
  await publisher.flush(30_000);
  await stores(3_002);
  // Somebody else goes on before anything was committed for long: what is there is not written again.
  await first.stop();
  const second = await store(kafka);
  log.info('the last');
  await publisher.flush(30_000);
  await stores(3_003);
  const found = await rows(stored, process);
  t.deepEqual(
    found.map(({ line }) => line),
    lines,
  );
  const by = async (filter: string) =>
    (await stored.query(`{process=${JSON.stringify(process)}} ${filter}`)).map(({ _msg }) => _msg);
  t.deepEqual(await by(`trace_id:=${JSON.stringify(trace)}`), ['stock is low']);
  t.deepEqual(await by(`line:${JSON.stringify(pseudonym)}`), ['refused']);
  t.deepEqual(await by('level:=error'), ['refused']);
  t.false(JSON.stringify(found).includes('kim-9321'));
  let onTopic = '';
  for await (const records of kafka.read(topic.name, 0, 0, 10_000))
    for (const { key, value, headers } of records) onTopic += `${key} ${value} ${JSON.stringify(headers)}\n`;
  t.true(onTopic.includes('stock is low'));
  t.false(onTopic.includes('kim-9321'));
  const committed = async () => (await kafka.admin.committed(group.id, topic.name)).get(0) ?? 0;
  await eventually('all is committed', async () => (await committed()) >= 3_003);
  await second.stop();
  await kafka.close();
});

test('the promise breaks over a line that the store does not have, and holds when it has come', async (t) => {
  t.timeout(120_000);
  const { topic, group, process, kafka, publisher, stored, store, stores } = await world();
  let loses = '"number 7"';
  const lossy: LogStore = {
    ...stored,
    insert: (lines) => stored.insert(lines.filter(({ text }) => !text.includes(loses))),
  };
  const storing = await store(kafka, lossy);
  await publisher.connect(kafka);
  for (let i = 1; i <= 10; i++)
    publisher.take(JSON.stringify({ level: 'info', process, message: `number ${i}` }), 'info');
  await publisher.flush(30_000);
  await stores(9);
  const check = logsStored({ kafka, logStoreUrl }, 0, topic.name);
  const ours = async () => {
    const { ids } = await check();
    return ids.filter((id) => id.startsWith(process));
  };
  await eventually('the gap is told', async () => /1 of the lines 1 to 10/.test((await ours()).join()));
  // The last line: no number after it shows the gap.
  loses = '"number 12"';
  for (let i = 11; i <= 12; i++)
    publisher.take(JSON.stringify({ level: 'info', process, message: `number ${i}` }), 'info');
  await publisher.flush(30_000);
  await stores(10);
  await eventually('the last line is told', async () => /: line 12/.test((await ours()).join()));
  await storing.stop();
  // Read again from the beginning, by a store that takes all.
  loses = 'nothing';
  const again = await store(kafka, stored, { ...group, id: uniqueName('group') });
  await stores(12);
  await eventually('it holds', async () => (await ours()).length === 0);
  t.deepEqual(await ours(), []);
  await again.stop();
  await kafka.close();
});
