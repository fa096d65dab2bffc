import test from 'ava';
import { isNotNow } from '../base/errors.ts';
import type { IncomingRecord } from './kafka.ts';
import { readPartition } from './read.ts';
import type { Wire } from './wire.ts';

const record = (offset: number) => ({ offset, key: null, value: Buffer.from('x'), headers: {} });

/** A partition with one record whose leader is told by `leaders`, the last of them from then on. */
function wireWith(leaders: readonly number[], fetch = () => [record(0)], sparing: unknown[] = []): Wire {
  let asked = 0;
  return {
    async metadata(_: unknown, options: unknown) {
      sparing.push(options);
      const leader = leaders[Math.min(asked++, leaders.length - 1)]!;
      return { topicMetadata: [{ partitionMetadata: [{ partitionId: 0, leader }] }] };
    },
    broker: async () => ({ fetch: async () => ({ responses: [{ partitions: [{ messages: fetch() }] }] }) }),
  } as unknown as Wire;
}

async function readAll(wire: Wire, leaderWithinMs?: number): Promise<IncomingRecord[]> {
  const all: IncomingRecord[] = [];
  for await (const chunk of readPartition(wire, 'topic', 0, 0, 1, leaderWithinMs)) all.push(...chunk);
  return all;
}

test('before each fetch one broker is asked who leads, not all of them', async (t) => {
  const asked: unknown[] = [];
  await readAll(wireWith([1], undefined, asked));
  t.deepEqual(asked, [{ sparing: true }]);
});

test('a partition that has no leader for seconds is read when it has one, and not taken for empty', async (t) => {
  t.is((await readAll(wireWith([...Array<number>(12).fill(-1), 1]))).length, 1);
});

test('a partition that gets no leader is "not now", and not the end of the log', async (t) => {
  const error = await t.throwsAsync(readAll(wireWith([-1]), 500));
  t.true(isNotNow(error), String(error));
});

test('a broker that does not answer while it is read is "not now"', async (t) => {
  const silent = wireWith([1], () => {
    throw new Error('Connection timeout');
  });
  const error = await t.throwsAsync(readAll(silent));
  t.true(isNotNow(error), String(error));
});
