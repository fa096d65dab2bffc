import test from 'ava';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { assignSlots, type Member, slotAssigner } from './assigner.ts';

const members = fc
  .uniqueArray(
    fc.record({
      id: fc.string({ minLength: 1, maxLength: 6 }),
      held: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 20 }),
      generation: fc.integer({ min: 0, max: 5 }),
    }),
    { selector: (member) => member.id, minLength: 1, maxLength: 8 },
  )
  .map((list): Member[] => list);

test('every slot goes to exactly one member, and shares differ by one at most', (t) => {
  fc.assert(
    fc.property(members, fc.integer({ min: 0, max: 30 }), (list, slots) => {
      const assigned = assignSlots(list, slots);
      const all = [...assigned.values()].flat().sort((a, b) => a - b);
      const sizes = [...assigned.values()].map((mine) => mine.length);
      return (
        all.length === slots &&
        all.every((slot, i) => slot === i) &&
        Math.max(...sizes) - Math.min(...sizes) <= 1
      );
    }),
  );
  t.pass();
});

test('the assignment does not hang on the order of members', (t) => {
  fc.assert(
    fc.property(members, fc.integer({ min: 0, max: 30 }), (list, slots) => {
      const sorted = (of: ReadonlyMap<string, number[]>) => [...of].sort(([a], [b]) => (a < b ? -1 : 1));
      t.deepEqual(sorted(assignSlots([...list].reverse(), slots)), sorted(assignSlots(list, slots)));
    }),
    { numRuns: 50 },
  );
});

test('it is stable: the same members keep what they have; when one leaves or comes, only the needed moves happen', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 30 }), (count, slots) => {
      const ids = Array.from({ length: count }, (_, i) => `m${i}`);
      const first = assignSlots(
        ids.map((id) => ({ id, held: [], generation: 0 })),
        slots,
      );
      const holding = (id: string) => ({ id, held: first.get(id)!, generation: 1 });
      const same = assignSlots(ids.map(holding), slots);
      for (const id of ids) if (String(same.get(id)) !== String(first.get(id))) return false;
      // One comes: it gets its share, and nothing else moves.
      const more = assignSlots([...ids.map(holding), { id: 'new', held: [], generation: 0 }], slots);
      const moved = ids.flatMap((id) => first.get(id)!.filter((slot) => !more.get(id)!.includes(slot)));
      if (moved.length !== more.get('new')!.length) return false;
      if (count === 1) return true;
      // One leaves: the others keep all they had.
      const fewer = assignSlots(ids.slice(1).map(holding), slots);
      return ids.slice(1).every((id) => first.get(id)!.every((slot) => fewer.get(id)!.includes(slot)));
    }),
  );
  t.pass();
});

test('over kafkajs’ protocol each member gets the same partition numbers of every topic', async (t) => {
  const partitions: Record<string, number> = { purchase: 6, promo_behavior: 6, extra: 7 };
  const cluster = {
    findTopicPartitionMetadata: (topic: string) =>
      Array.from({ length: partitions[topic]! }, (_, partitionId) => ({ partitionId })),
  };
  const create = (slots: number[]) =>
    slotAssigner({ name: 'x', holdings: { slots, generation: 1 } })({ cluster });
  const topics = Object.keys(partitions);
  const joined = [
    { memberId: 'a', memberMetadata: create([4, 5]).protocol({ topics }).metadata },
    { memberId: 'b', memberMetadata: create([]).protocol({ topics }).metadata },
    { memberId: 'c', memberMetadata: Buffer.from('not ours') },
  ];
  const assigned = await create([]).assign({ members: joined, topics });
  const decoded = assigned.map(
    ({ memberAssignment }) => kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment)!.assignment,
  );
  t.deepEqual(decoded.flatMap((each) => each.purchase ?? []).sort(), [0, 1, 2, 3, 4, 5]);
  t.deepEqual(decoded.flatMap((each) => each.extra ?? []).sort(), [0, 1, 2, 3, 4, 5, 6]);
  for (const each of decoded) t.deepEqual(each.purchase, each.promo_behavior);
  t.true(decoded[0]!.purchase!.includes(4) && decoded[0]!.purchase!.includes(5));
});
