import { randomUUID } from 'node:crypto';
import test from 'ava';
import { agreement, type Side } from './agreement.ts';

/** A side with rows that come two at a time. */
function sideWith(says: Map<string, string>): Side & { isAway: boolean } {
  let seen = 0;
  const side = {
    isAway: false,
    async next() {
      const ids = [...says.keys()].slice(seen, seen + 2);
      const looked = () => {
        seen += ids.length;
        return ids.length === 2;
      };
      return { ids, looked };
    },
    async find(ids: readonly string[]) {
      if (side.isAway) throw new Error('away');
      return new Map([...says].filter(([id]) => ids.includes(id)));
    },
  };
  return side;
}

test('what differs, or is on one side only, is told until it is right, however many pages there are', async (t) => {
  const ids = Array.from({ length: 5 }, (): string => randomUUID());
  const [same, other, missing, fromNowhere] = ids as [string, string, string, string];
  const here = new Map(ids.map((id) => [id, 'a']));
  const there = new Map(ids.map((id) => [id, 'a']));
  there.set(other, 'b');
  there.delete(missing);
  here.delete(fromNowhere);
  const [one, two] = [sideWith(here), sideWith(there)];
  const check = agreement('things', 0, [one, two]);
  const found = await check();
  t.deepEqual([...found.ids].toSorted(), [other, missing, fromNowhere].toSorted());
  t.false(found.ids.includes(same));

  two.isAway = true;
  await t.throwsAsync(check());
  two.isAway = false;
  t.is((await check()).broken, 3, 'what was found is not forgotten while a side cannot be asked');
  there.set(other, 'a').set(missing, 'a');
  here.set(fromNowhere, 'a');
  t.is((await check()).broken, 0);
});
