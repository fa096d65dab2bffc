import test from 'ava';
import type { ClusterTopic } from '../kafka/kafka.ts';
import { partitionKey, singleCopies, watchRecovery } from './recovery.ts';

const topic = (inSync: readonly number[], leader = 1, replicas = [1, 2, 3], name = 'a'): ClusterTopic => ({
  name,
  id: 'id',
  partitions: [{ partition: 0, leader, replicas, inSync }],
});
const end = (offset: number) => new Map([[partitionKey('a', 0), offset]]);
const nothing = new Map<string, number>();

test('the age of replication is 0 while all copies are in sync, and counts from when they were', (t) => {
  const recovery = watchRecovery();
  recovery.see([topic([1, 2, 3])], nothing, 0);
  t.is(recovery.at(1_900)[0]!.replicationAgeSeconds, 0);
  recovery.see([topic([1, 2])], nothing, 2_000);
  recovery.see([topic([1, 2])], nothing, 4_000);
  t.is(recovery.at(5_000)[0]!.replicationAgeSeconds, 5);
  t.is(recovery.at(5_000)[0]!.atRiskSeconds, 0, 'two copies hold everything');
  recovery.see([topic([1, 2, 3])], nothing, 6_000);
  t.is(recovery.at(6_000)[0]!.replicationAgeSeconds, 0);
});

test('what nobody can see any more is not said to be well', (t) => {
  const recovery = watchRecovery();
  recovery.see([topic([1, 2, 3])], nothing, 0);
  t.is(recovery.at(10_000)[0]!.replicationAgeSeconds, 0);
  t.is(recovery.at(12_000)[0]!.replicationAgeSeconds, 12);
});

test('data is at risk from when one copy was left alone to the last record it took', (t) => {
  const recovery = watchRecovery();
  recovery.see([topic([1, 2])], nothing, 0);
  recovery.see([topic([1])], end(10), 2_000);
  t.is(recovery.at(3_000)[0]!.atRiskSeconds, 0, 'nothing was written since');
  recovery.see([topic([1])], end(15), 4_000);
  recovery.see([topic([1])], end(15), 6_000);
  t.is(recovery.at(7_000)[0]!.atRiskSeconds, 4);
  recovery.see([topic([], -1)], nothing, 8_000);
  t.is(recovery.at(9_000)[0]!.atRiskSeconds, 4, 'its only copy is away: still at risk');
  recovery.see([topic([1, 2])], nothing, 10_000);
  t.is(recovery.at(10_000)[0]!.atRiskSeconds, 0);
});

test('a topic of one copy is as safe as it was promised to be', (t) => {
  const recovery = watchRecovery();
  recovery.see([topic([1], 1, [1])], end(10), 0);
  recovery.see([topic([1], 1, [1])], end(20), 2_000);
  t.deepEqual(recovery.at(2_000), [{ topic: 'a', partition: 0, replicationAgeSeconds: 0, atRiskSeconds: 0 }]);
});

test('a deleted topic is forgotten', (t) => {
  const recovery = watchRecovery();
  recovery.see([topic([1])], nothing, 0);
  recovery.see([], nothing, 2_000);
  t.deepEqual(recovery.at(2_000), []);
});

test('only the ends of partitions with one copy left are asked for, by their leaders', (t) => {
  const topics = [
    topic([1, 2]),
    topic([2], 2, [1, 2, 3], 'b'),
    topic([1], 1, [1], 'c'),
    topic([1], -1, [1, 2], 'd'),
  ];
  t.deepEqual([...singleCopies(topics)], [[2, new Map([['b', [0]]])]]);
});
