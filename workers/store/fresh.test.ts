import test from 'ava';
import { DummyDriver, Kysely, MysqlAdapter, MysqlIntrospector, MysqlQueryCompiler } from 'kysely';
import { dateAt, type Fresh, freshRows } from './fresh.ts';

const db = new Kysely<unknown>({
  dialect: {
    createAdapter: () => new MysqlAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (own) => new MysqlIntrospector(own),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  },
});

/** What the database answers that has rows of these times (UTC ms). */
function answer(fresh: Fresh<Date>, times: readonly number[], upToMs: number): readonly number[] {
  const { parameters } = fresh.next(upToMs).compile(db);
  const [from, upTo, atOnce] = parameters as [Date, Date, number];
  return times.filter((ms) => ms >= from.getTime() && ms < upTo.getTime()).slice(0, atOnce);
}

test('more rows than may be looked at at once are looked at by and by, each of them, and then it is up to date', (t) => {
  const fresh = freshRows('ended_at', dateAt, 4);
  const times = [1, 2, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9].map((n) => 1_000 * n);
  const seen = new Set<number>();
  const looks: boolean[] = [];
  do {
    const rows = answer(fresh, times, 10_000);
    for (const ms of rows) seen.add(ms);
    // In no order: a join may have changed it.
    looks.push(fresh.looked(rows.map(dateAt).toReversed(), 10_000));
  } while (looks.at(-1));
  t.deepEqual([...seen], [...new Set(times)]);
  t.is(looks.length, 5);
  t.deepEqual(answer(fresh, [...times, 10_000, 11_000], 12_000), [10_000, 11_000], 'and goes on from there');
});

test('it begins a day back, and what could not be looked at is looked at again', (t) => {
  const fresh = freshRows('ended_at', dateAt);
  const nowMs = 100 * 86_400_000;
  const times = [nowMs - 86_400_001, nowMs - 86_400_000, nowMs - 1];
  t.deepEqual(answer(fresh, times, nowMs), times.slice(1));
  t.deepEqual(answer(fresh, times, nowMs + 5), times.slice(1));
});
