import test from 'ava';
import { type CommitNote, committedBeyond, type Place, type Work, watchCommits } from './commits.ts';
import { NotChecked } from './verdict.ts';

const place = (topic: string, offset: number, partition = 0): Place => ({ topic, partition, offset });
const work = (inputs: readonly Place[], effects: readonly Place[]): Work => ({
  id: 'p1',
  inputs,
  effects,
  traceId: 'trace-1',
});
const note = (committed: number, ends: number): CommitNote => ({
  committed: new Map([['in-0', committed]]),
  ends: new Map([['out-0', ends]]),
});
const beyond = (one: Work, ...notes: readonly CommitNote[]) => committedBeyond([one], notes);

test('work that was committed when its effect was there is well', (t) => {
  t.deepEqual(beyond(work([place('in', 7)], [place('out', 3)]), note(7, 3), note(8, 4)), []);
});

test('work that was committed before its effect is found, although the effect came later', (t) => {
  const found = beyond(work([place('in', 7)], [place('out', 3)]), note(7, 3), note(8, 3), note(9, 4));
  t.like(found, [{ kind: 'committed-beyond', id: 'p1', traceId: 'trace-1' }]);
  t.is(found[0]!.detail, 'in-0-7 committed before its effect was there');
});

test('work that was committed and of which nothing came is found', (t) => {
  t.is(beyond(work([place('in', 7)], []), note(8, 3))[0]!.detail, 'in-0-7 committed and nothing came of it');
});

test('work that is not committed may have no effect yet', (t) => {
  t.deepEqual(beyond(work([place('in', 7)], []), note(7, 3)), []);
});

test('one of several effects is enough', (t) => {
  t.deepEqual(beyond(work([place('in', 7)], [place('out', 9), place('out', 2)]), note(8, 3)), []);
});

test('work on several records is due when the last of them is committed', (t) => {
  const both = work([place('in', 2), place('in', 7)], [place('out', 3)]);
  t.deepEqual(beyond(both, note(3, 0), note(8, 4)), []);
  t.is(beyond(both, note(3, 0), note(8, 3), note(8, 4)).length, 1);
});

test('commits that went back count from when they were first seen', (t) => {
  t.is(beyond(work([place('in', 7)], [place('out', 3)]), note(8, 3), note(5, 3), note(8, 4)).length, 1);
});

test('a partition of which nothing was ever seen committed was not checked', (t) => {
  t.like(beyond(work([place('in', 7, 4)], []), note(8, 3)), [{ kind: 'not-checked', id: 'in-4' }]);
  t.like(beyond(work([place('in', 7)], [])), [{ kind: 'not-checked', id: 'in-0' }]);
});

test('a watch notes commits first and then the ends, of its own topics only', async (t) => {
  const asked: string[] = [];
  const over = new AbortController();
  const watch = watchCommits(
    {
      async committed(group) {
        asked.push(group);
        return new Map([
          ['in', new Map([[0, 8]])],
          ['elsewhere', new Map([[0, 1]])],
        ]);
      },
      async ends(topics) {
        asked.push(...topics);
        return new Map([['out', new Map([[0, 3]])]]);
      },
    },
    { groups: [{ id: 'group', topics: [{ name: 'in' }] }], topics: ['out'] },
    over.signal,
  );
  await new Promise((resolve) => setImmediate(resolve));
  const notes = await watch.notes();
  over.abort();
  t.deepEqual(notes, [note(8, 3), note(8, 3)]);
  t.deepEqual(asked, ['group', 'out', 'group', 'out']);
});

test('a watch that got no note during the run says so', async (t) => {
  const over = new AbortController();
  const away = () => Promise.reject(new NotChecked('group', 'Kafka did not answer'));
  const watch = watchCommits(
    { committed: away, ends: away },
    { groups: [{ id: 'group', topics: [] }], topics: [] },
    over.signal,
  );
  await t.throwsAsync(watch.notes(), { instanceOf: NotChecked, message: /not seen during the run/ });
  over.abort();
});
