import test from 'ava';
import { seen, trace } from './seen.fixture.ts';
import { checkVersions, type VersionedRecord } from './versions.ts';

/** Versions of one purchase in order of offsets. */
const said = (versions: readonly number[], partition = 0): VersionedRecord[] =>
  versions.map((version, offset) => ({
    id: 'p1',
    version,
    record: seen({ topic: 'answers', partition, offset }),
  }));
const kinds = (records: readonly VersionedRecord[], disturbed = false) =>
  checkVersions('answers', records, disturbed).map(({ kind }) => kind);

test('versions that grow are in order, whatever they leave out', (t) => {
  t.deepEqual(kinds(said([1])), []);
  t.deepEqual(kinds(said([1, 2, 5])), []);
});

test('a new word of a lower version is out of order, and is named with its trace', (t) => {
  const findings = checkVersions('answers', said([3, 2]), false);
  t.like(findings, [{ kind: 'order', id: 'p1', traceId: trace }]);
  t.regex(findings[0]!.detail, /version 2 was first said after version 3, at answers-0-1/);
  t.is(findings.length, 1);
});

test('what was said before may be said again at any time', (t) => {
  t.deepEqual(kinds(said([2, 3, 2])), []);
  t.deepEqual(kinds(said([1, 1, 1])), []);
});

test('a word of a lower version is out of order, also when the highest is said again after it', (t) => {
  t.deepEqual(kinds(said([2, 4, 2, 3, 4])), ['order']);
});

test('when something was broken an answer may come after its correction: that is what versions are for', (t) => {
  t.deepEqual(kinds(said([3, 2]), true), []);
});

test('answers of one purchase on two partitions have no order', (t) => {
  for (const disturbed of [false, true])
    t.deepEqual(kinds([...said([1], 0), ...said([2], 1)], disturbed), ['order']);
});
