import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { allGroups, type ConsumerGroup } from '../catalog/groups.ts';
import { allTopics, type Topic, topics } from '../catalog/topics.ts';
import { compareCapacity, diskBytes, planCapacity } from './capacity.ts';
import { comparisonTable, planTables, size } from './capacity-table.ts';

const { prod } = environments;
const plainPaint = (_format: unknown, text: string) => text;

/** One topic of round numbers: 100 messages/s for the 5 days of prod. */
const round: Topic = {
  ...topics.purchase,
  name: 'round',
  owner: 'test',
  designLoad: { messagesPerSecond: 100, bytesPerMessage: 200 },
};
const reader: ConsumerGroup = { ...allGroups[0]!, id: 'reader', topics: [round] };

test('the contract’s 34.5 GB are 200 B x 2 copies x 1440 x 60 x 5 d x 200/s, and with the buffer they just fit in 40 GB', (t) => {
  const { steps, disk } = planCapacity(prod, allTopics, allGroups);
  t.is(steps[0]!.sum, '200 B x 2 copies x 1440 x 60 x 5 d x 200/s');
  t.is(steps[0]!.allBytes, 200 * 2 * 1440 * 60 * 5 * 200);
  t.is(size(steps[0]!.allBytes), '34.56 GB');
  t.true(steps[0]!.allBytes + disk.bufferBytes <= 40e9);
  t.is(steps[1]!.allBytes, steps[0]!.allBytes * 1.5);
  t.is(steps[1]!.bytesPerBroker, 17.28e9);
});

test('a message costs its record and batch headers too, as the producer writes them', (t) => {
  const raw = { name: 'raw', owner: 'test' };
  // 61 of the batch; of the record: length 2, attributes, time and offset 1 each, key 1 + 16, value 2 + 200, no headers 1.
  t.is(diskBytes(raw, 200), 61 + 2 + 3 + 17 + 202 + 1);
  t.is(diskBytes(raw, 300) - diskBytes(raw, 200), 100);
  t.true(
    diskBytes(topics.purchase, 200) > diskBytes(raw, 200) + 200,
    'CloudEvents headers and trace context',
  );
});

test('a topic takes its retention and one segment more, with its indexes', (t) => {
  const [topic] = planCapacity(prod, [round], []).topics;
  const seconds = 5 * 86_400 + (5 * 86_400) / 12;
  const log = 100 * diskBytes(round, 200) * seconds;
  t.is(Math.round(topic!.bytesPerBroker), Math.round(log * (1 + 20 / 4_096)));
});

test('two of three copies are on each broker in the mean', (t) => {
  const [three] = planCapacity(prod, [round], []).topics;
  const [two] = planCapacity(prod, [{ ...round, replicationFactor: 2 }], []).topics;
  t.true(Math.abs(two!.bytesPerBroker / three!.bytesPerBroker - 2 / 3) < 1e-9);
});

test('what does not fit says for how many days, and for how much load, it would', (t) => {
  const plan = planCapacity(prod, [round], [reader]);
  t.true(plan.disk.fits);
  const days = plan.disk.daysThatFit;
  t.true(days > 5);
  const longer = { ...prod, retentionMs: Math.floor(days * 86_400_000) - 3_600_000 };
  t.true(planCapacity(longer, [round], [reader]).disk.fits);
  const tooLong = { ...prod, retentionMs: Math.floor(days * 86_400_000) + 3_600_000 };
  const no = planCapacity(tooLong, [round], [reader]);
  t.false(no.disk.fits);
  t.true(Math.abs(no.disk.daysThatFit - days) < 0.01, 'the answer does not depend on what was asked for');
  t.true(no.disk.loadThatFits < 1);
});

test('a topic with a retention of its own does not shrink with the environment’s', (t) => {
  const fixed = { ...round, name: 'fixed', retentionMs: 5 * 86_400_000 };
  const both = planCapacity(prod, [round, fixed], []).disk;
  const alone = planCapacity(prod, [round], []).disk;
  t.true(both.daysThatFit < alone.daysThatFit);
  t.is(planCapacity(prod, [fixed], []).disk.daysThatFit, Number.POSITIVE_INFINITY);
});

test('each byte from a producer goes to two followers and to every group', (t) => {
  const { network } = planCapacity(prod, [round], [reader, { ...reader, id: 'another' }]);
  const each = (100 * diskBytes(round, 200)) / 3;
  t.is(network.fromProducers, each);
  t.is(network.fromLeaders, 2 * each);
  t.is(network.toConsumers, 2 * each);
  t.is(network.outBytes, 4 * each);
});

test('memory is heap, what a JVM takes beside it, and the newest writes', (t) => {
  const { memory } = planCapacity(prod, [round], []);
  t.is(memory.pageCacheBytes, 100 * diskBytes(round, 200) * 30);
  t.true(memory.fits);
  const small = { ...prod, kafka: { ...prod.kafka, size: { memoryMiB: 512, heapMiB: 512 } } };
  t.false(planCapacity(small, [round], []).memory.fits);
});

test('measured topics are compared by the bytes of a message; a handful of records says nothing', (t) => {
  const plan = planCapacity(prod, [round, topics.promotion, topics.canary], []);
  const planned = diskBytes(round, 200);
  const comparison = compareCapacity(plan, [
    { name: 'round', records: 1_000, bytes: planned * 500 },
    { name: 'promotion', records: 3, bytes: 900 },
    { name: 'muster-canary', records: 0, bytes: 0 },
    { name: 'stranger', records: 5_000, bytes: 5_000 },
  ]);
  t.deepEqual(
    comparison.map(({ name, ratio }) => [name, ratio]),
    [
      ['round', 0.5],
      ['promotion', undefined],
    ],
  );
  t.regex(comparisonTable(comparison, plainPaint), /round +1000 .* 0\.50/);
});

test('the tables say the verdict in a sentence', (t) => {
  t.regex(
    planTables(planCapacity(prod, [round], []), plainPaint),
    /Enough: 40\.00 GB hold [\d.]+ d .* 5 d are asked/,
  );
  const tooMuch = { ...round, designLoad: { messagesPerSecond: 10_000, bytesPerMessage: 200 } };
  t.regex(
    planTables(planCapacity(prod, [tooMuch], []), plainPaint),
    /Not enough: 40\.00 GB hold [\d.]+ h .* or the disk has to be [\d.]+ GB/,
  );
});
