import test from 'ava';
import { checkMembers, type MemberRow } from './members.ts';
import type { SeenRecord } from './reading.ts';

const row = (differences: Partial<MemberRow> = {}): MemberRow => ({
  pseudonym: 'u_1',
  state: 'ACTIVE',
  version: 2,
  isNew: true,
  account: 'OPEN',
  hasMoney: false,
  ...differences,
});
const record = (offset: number, version: number, more: object = {}): SeenRecord => ({
  topic: 'member-events',
  partition: 0,
  offset,
  key: Buffer.from('member:u_1'),
  value: Buffer.from(JSON.stringify({ member: 'u_1', version, ...more })),
  headers: {},
});
const both = [record(0, 1), record(1, 2)];
const findings = (rows: readonly MemberRow[], records: readonly SeenRecord[] = both) =>
  checkMembers(rows, records, ['person']).findings.map(({ kind, id }) => `${kind} ${id}`);

test('members that are told of, and whose accounts follow, are in order; a repeat is none', (t) => {
  t.deepEqual(checkMembers([row()], [...both, record(2, 1)], ['person']), {
    subject: 'members',
    acked: 0,
    looked: '1 members, of whom 1 changed in this run',
    inDoubt: 0,
    repeats: 1,
    findings: [],
  });
  t.deepEqual(findings([row({ isNew: false })], []), [], 'told of before the run');
});

test('a last change that is on no topic, an older one behind a newer one, and a name are found', (t) => {
  t.deepEqual(findings([row({ version: 3 })]), ['untold u_1-3']);
  t.deepEqual(findings([row()], both.toReversed()), ['order u_1']);
  t.deepEqual(findings([row()], [...both, record(2, 3, { by: 'person-7' })]), [
    'personal-data member-events-0-2',
  ]);
});

test('an account that does not follow its member is found', (t) => {
  const wrong: readonly Partial<MemberRow>[] = [
    { account: null },
    { account: 'SUSPENDED' },
    { state: 'SUSPENDED' },
    { state: 'CLOSED' },
    { state: 'CLOSED', account: 'SUSPENDED' },
    { state: 'CLOSED', account: 'CLOSED', hasMoney: true },
  ];
  for (const one of wrong) t.deepEqual(findings([row(one)]), ['wrong u_1'], JSON.stringify(one));
  const right: readonly Partial<MemberRow>[] = [
    { state: 'SUSPENDED', account: 'SUSPENDED' },
    { state: 'CLOSED', account: 'CLOSED' },
    { state: 'CLOSED', account: null },
    { state: 'CLOSED', account: 'SUSPENDED', hasMoney: true },
  ];
  for (const one of right) t.deepEqual(findings([row(one)]), [], JSON.stringify(one));
});
