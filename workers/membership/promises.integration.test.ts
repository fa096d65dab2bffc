/** What membership promises, on a real MySQL or MariaDB and Kafka. */
import { randomBytes, randomUUID } from 'node:crypto';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { pseudonym } from '../base/pseudonym.ts';
import { withTopic } from '../kafka/testing.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { membersTold } from './promises.ts';
import { createMember, type MembershipTables, saveMember } from './store.ts';

const pseudonymKey = randomBytes(32);
const limitMs = 5_000;

test('members-told tells the last change that is not on the topic, and is over when it is', async (t) => {
  t.timeout(120_000);
  const { kafka, topic } = await withTopic(t, 'members-told', 2);
  const { db, drop } = await scratchDatabase('members_told', 'membership');
  t.teardown(drop);
  const members = db as unknown as Kysely<MembershipTables>;
  const producer = await kafka.producer('test');
  const tell = (id: string) => producer.send([{ topic, key: id, value: '{}', headers: { ce_id: id } }]);
  const at = (agoMs: number) => Date.now() - agoMs;
  const join = async (agoMs: number) => {
    const joined = await createMember(
      members,
      {
        type: 'PERSON',
        name: 'Kim',
        email: randomUUID(),
        address: '1',
        district: 'Mapo-gu',
        password: 'kept',
      },
      { scope: 'membership:test', key: randomUUID(), body: '' },
      { pseudonymKey, nowMs: at(agoMs) },
    );
    return joined.ok ? joined.memberId : '';
  };
  const [first, second, third] = [await join(8_000), await join(8_000), await join(0)];
  const named = (memberId: string, version: number) => `${pseudonym(pseudonymKey, memberId)}-${version}`;
  await saveMember(members, second, { district: 'Jung-gu' }, 'member', at(7_000));
  await tell(named(first, 1));
  const check = membersTold({ database: async () => db, kafka }, limitMs, topic);
  // Of the second only the last counts; the third has time.
  t.deepEqual((await check()).ids, [named(second, 2)]);
  await tell(named(second, 2));
  t.like(await check(), { broken: 0 });
  // Not told of, and nothing that others would hear of.
  await saveMember(members, first, { name: 'Lee' }, 'member', at(0));
  await sql`UPDATE member SET told_at = told_at - INTERVAL 8 SECOND WHERE member_id = ${third}`.execute(db);
  const again = membersTold({ database: async () => db, kafka }, limitMs, topic);
  t.deepEqual((await again()).ids, [named(third, 1)]);
});
