import test from 'ava';
import { changeMember, type Member, tidy } from './member.ts';

const member: Member = {
  memberId: 'm',
  type: 'PERSON',
  state: 'ACTIVE',
  name: 'Kim',
  email: 'kim@example.org',
  address: '1 Teheran-ro',
  district: 'Gangnam-gu',
  version: 3,
};
const after = (
  before: Partial<Member>,
  ...change: Parameters<typeof changeMember> extends [Member, ...infer Rest] ? Rest : never
) => {
  const changed = changeMember({ ...member, ...before }, ...change);
  return changed.ok ? { ...changed.member, told: changed.told } : changed.refusal.code;
};

test('others hear of a state or a district that is new, each time with the next version, and of nothing else', (t) => {
  t.like(after({}, { district: 'Mapo-gu' }, 'member'), { district: 'Mapo-gu', version: 4, told: true });
  t.like(after({}, { state: 'SUSPENDED' }, 'staff'), { state: 'SUSPENDED', version: 4, told: true });
  t.like(after({}, { name: 'Lee', email: 'lee@example.org', address: '2' }, 'member'), {
    name: 'Lee',
    version: 3,
    told: false,
  });
  t.like(after({}, { district: 'Gangnam-gu', state: 'ACTIVE' }, 'staff'), { version: 3, told: false });
  t.like(after({}, { district: '  Gangnam-gu' }, 'member'), { version: 3, told: false });
});

test('closing is for good, forgets the e-mail, and twice is once', (t) => {
  t.like(after({}, { state: 'CLOSED' }, 'member'), {
    state: 'CLOSED',
    email: undefined,
    version: 4,
    told: true,
  });
  const closed = { state: 'CLOSED', email: undefined } as const;
  t.like(after(closed, { state: 'CLOSED' }, 'member'), { version: 3, told: false });
  for (const change of [
    { state: 'ACTIVE' },
    { state: 'SUSPENDED' },
    { name: 'x' },
    { name: 'x', state: 'CLOSED' },
  ] as const)
    t.is(after(closed, change, 'staff'), 'MUSTER_MEMBER_CLOSED');
});

test('who is suspended changes nothing by themselves, neither details nor by leaving; staff may', (t) => {
  const suspended = { state: 'SUSPENDED' } as const;
  for (const change of [{ name: 'x' }, { state: 'CLOSED' }, { state: 'ACTIVE' }] as const)
    t.is(after(suspended, change, 'member'), 'MUSTER_MEMBER_SUSPENDED');
  t.like(after(suspended, { state: 'ACTIVE' }, 'staff'), { state: 'ACTIVE', version: 4 });
  t.like(after(suspended, { state: 'CLOSED' }, 'staff'), { state: 'CLOSED', version: 4 });
});

test('an e-mail is one, large or small; text has one form', (t) => {
  t.deepEqual(tidy({ email: ' Kim@Example.ORG', name: 'e\u0301 ' }), { email: 'kim@example.org', name: 'é' });
});
