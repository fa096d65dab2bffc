import test from 'ava';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { arrived } from './arrived.ts';

const real = Date.now;
test.afterEach.always(() => {
  Date.now = real;
});

test.serial('what could not be judged for long is judged by all that came meanwhile', async (t) => {
  const told: { readonly id: string; readonly atMs: number }[] = [];
  let nowMs = 1_000_000;
  Date.now = () => nowMs;
  let isAway = false;
  const check = arrived({
    kafka: {
      admin: {
        ends: async () => new Map([['t', new Map([[0, told.length]])]]),
        offsets: async () => [{ partition: 0, low: 0, high: told.length }],
        offsetsAt: async () => new Map([[0, 0]]),
      },
      async *read(_: string, __: number, from: number, to: number) {
        yield told
          .slice(from, to)
          .map(({ id, atMs }) => ({ key: Buffer.from(id), timestampMs: atMs }) as unknown as IncomingRecord);
      },
    } as never,
    topics: ['t'],
    idOf: ({ key }) => String(key),
    limitMs: 60_000,
    async expected(fromMs, toMs) {
      if (isAway) throw new Error('the database does not answer');
      return [
        ...told.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ id }) => id),
        ...(fromMs <= 1_300_000 && toMs > 1_300_000 ? ['never told'] : []),
      ];
    },
  });
  for (; nowMs < 1_600_000; nowMs += 10_000) {
    told.push({ id: `id-${nowMs}`, atMs: nowMs });
    isAway = nowMs > 1_200_000 && nowMs < 1_500_000;
    if (isAway) await t.throwsAsync(check());
    else t.deepEqual((await check()).ids, nowMs < 1_500_000 ? [] : ['never told']);
  }
});
