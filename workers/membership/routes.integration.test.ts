/** Members over HTTP on a real MySQL or MariaDB (MYSQL_*) and a real Redis (REDIS_*). */
import { randomBytes, randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import type { RedisClientType } from 'redis';
import { Agent, fetch as fetchBy } from 'undici';
import { NotNowError } from '../base/errors.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { operatorToken, startTestHttp, testSigningKey, tokenOf } from '../http/testing.ts';
import type { RawRecord } from '../kafka/kafka.ts';
import { eventually, testLog } from '../kafka/testing.ts';
import { databaseAway, scratchDatabase } from '../store/database.fixture.ts';
import { outboxStore } from '../store/outbox.ts';
import { closeRedis, connectRedis } from '../store/redis.ts';
import { startOutboxRelay } from '../store/relay.ts';
import { guessLimits } from './guesses.ts';
import { registerMembershipRoutes } from './routes.ts';
import type { MembershipTables } from './store.ts';

/** Another one each run: nobody has guessed yet. */
const pseudonymKey = randomBytes(32);
const password = 'correct horse';

let db: Kysely<MembershipTables>;
let drop: (() => Promise<void>) | undefined;
let redis: RedisClientType;

test.before(async () => {
  const scratch = await scratchDatabase('membership', 'membership');
  db = scratch.db as unknown as Kysely<MembershipTables>;
  drop = scratch.drop;
  redis = await connectRedis({
    host: process.env.REDIS_HOST ?? '127.0.0.1',
    port: Number(process.env.REDIS_PORT ?? 6379),
    password: process.env.REDIS_PASSWORD || undefined,
    clientName: 'test',
    log: testLog,
  });
});
test.after.always(async () => {
  await drop?.();
  if (redis !== undefined) await closeRedis(redis, 500);
});

type Options = Parameters<typeof registerMembershipRoutes>[1];

async function serve(t: ExecutionContext, differences: Partial<Options> = {}) {
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  registerMembershipRoutes(http.app as never, {
    database: async () => db,
    redis: async () => redis,
    pseudonymKey,
    signingKey: testSigningKey,
    registry,
    ...differences,
  });
  await http.open();
  t.teardown(() => http.close(100));
  /** `from`: an address of this machine. */
  const as =
    (token: string | undefined, from = '127.0.0.1') =>
    async (method: string, path = '', body?: object, key?: string) => {
      const dispatcher = new Agent({ localAddress: from });
      const answer = await fetchBy(`http://127.0.0.1:${http.address().port}/pay/members${path}`, {
        method,
        dispatcher,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(key === undefined ? {} : { 'idempotency-key': key }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: an answer of any route
      const json = (await answer.json()) as any;
      await dispatcher.close();
      const code = json.error?.code as string | undefined;
      return { status: answer.status, json, code, retryAfter: answer.headers.get('retry-after') };
    };
  const anybody = as(undefined);
  const staff = as(operatorToken);
  async function join(differences: object = {}) {
    const details = kim(differences);
    const { json, status } = await anybody('POST', '', details, randomUUID());
    t.is(status, 201, JSON.stringify(json));
    const memberId = json.memberId as string;
    const role = details.type === 'PERSON' ? 'customer' : 'merchant';
    return { ...details, memberId, path: `/${memberId}`, call: as(await tokenOf(role, memberId)) };
  }
  const login = (email: string, secret = password, from?: string) =>
    as(undefined, from)('POST', '/login', { email, password: secret });
  return { as, anybody, staff, join, login };
}

const kim = (differences: object = {}) => ({
  type: 'PERSON' as 'PERSON' | 'MERCHANT',
  name: 'Kim Minji',
  email: `kim-${randomUUID()}@example.org`,
  address: '1 Teheran-ro',
  district: 'Gangnam-gu',
  password,
  ...differences,
});

/** What the outbox holds of a member, in its order. */
async function eventsOf(memberId: string) {
  const key = Buffer.from(`member:${pseudonym(pseudonymKey, memberId)}`);
  const { rows } = await sql<{ value: Buffer }>`
    SELECT value FROM muster_outbox WHERE record_key = ${key} ORDER BY id`.execute(db);
  return rows.map(({ value }) => JSON.parse(String(value)) as Record<string, unknown>);
}

test.serial('text that is too long only in its one form is refused, and is nobody’s failure', async (t) => {
  const { anybody, join } = await serve(t);
  // One letter, which is two in the one form; and a capital that is two small ones.
  const [letters, dotted] = ['\u0958'.repeat(101), `${'\u0130'.repeat(130)}@example.org`];
  for (const [field, value] of [
    ['name', letters],
    ['email', dotted],
  ] as const) {
    const answer = await anybody('POST', '', kim({ [field]: value }), randomUUID());
    t.like(answer, { status: 422, code: 'MUSTER_VALIDATION' });
    t.deepEqual(answer.json.error.details, [{ field, reason: 'is too long' }]);
  }
  const minji = await join();
  t.like(await minji.call('PATCH', minji.path, { district: letters.slice(0, 60) }), { status: 422 });
});

test.serial(
  'a member is known to themselves and to staff; a service is told nothing that names anybody',
  async (t) => {
    const { as, staff, anybody, join } = await serve(t);
    const [minji, shop] = [await join(), await join({ type: 'MERCHANT', name: 'Shop' })];
    const all = {
      memberId: minji.memberId,
      type: 'PERSON',
      state: 'ACTIVE',
      name: 'Kim Minji',
      email: minji.email,
      address: '1 Teheran-ro',
      district: 'Gangnam-gu',
    };
    t.deepEqual((await minji.call('GET', minji.path)).json, all);
    t.deepEqual((await staff('GET', minji.path)).json, all);
    t.like((await shop.call('GET', shop.path)).json, { type: 'MERCHANT', name: 'Shop' });
    const service = as(await tokenOf('service', 'pay'));
    const { memberId, type, state, district } = all;
    t.deepEqual((await service('GET', minji.path)).json, { memberId, type, state, district });
    const nobody = '/01234567-0123-7123-8123-0123456789ab';
    for (const [call, path] of [
      [shop.call, minji.path],
      [minji.call, shop.path],
      [minji.call, nobody],
      [staff, nobody],
    ] as const)
      t.like(await call('GET', path), { status: 404, code: 'MUSTER_MEMBER_UNKNOWN' });
    t.like(await shop.call('PATCH', minji.path, { name: 'x' }), { status: 404 });
    t.like(await shop.call('POST', `${minji.path}/close`), { status: 404 });
    t.like(await anybody('GET', minji.path), { status: 401 });
    for (const path of ['suspend', 'reopen'])
      t.like(await minji.call('POST', `${minji.path}/${path}`), { status: 403 }, path);
    t.like(await service('PATCH', minji.path, { name: 'x' }), { status: 403 });
  },
);

test.serial(
  'the same request joins once; another under its key is refused; an e-mail is one member’s',
  async (t) => {
    const { anybody, join } = await serve(t);
    const body = kim();
    const answers = await Promise.all(Array.from({ length: 8 }, () => anybody('POST', '', body, body.email)));
    const good = answers.filter(({ status }) => status === 201);
    t.true(good.length > 0);
    t.is(new Set(good.map(({ json }) => json.memberId)).size, 1);
    for (const { status, code } of answers) if (status !== 201) t.is(code, 'MUSTER_IDEMPOTENCY_KEY_IN_USE');
    const { memberId } = good[0]!.json;
    t.deepEqual((await anybody('POST', '', body, body.email)).json, { memberId });
    t.like(await anybody('POST', '', { ...body, district: 'Mapo-gu' }, body.email), {
      status: 409,
      code: 'MUSTER_IDEMPOTENCY_KEY_REUSED',
    });
    t.like(await anybody('POST', '', body), { status: 422, code: 'MUSTER_VALIDATION' }, 'no key');
    t.is((await eventsOf(memberId)).length, 1);

    const taken = { status: 409, code: 'MUSTER_EMAIL_TAKEN' };
    t.like(await anybody('POST', '', body, randomUUID()), taken);
    const key = randomUUID();
    t.like(await anybody('POST', '', { ...body, email: body.email.toUpperCase() }, key), taken);
    t.is((await anybody('POST', '', kim(), key)).status, 201, 'a refusal uses no key up');
    const other = await join();
    t.like(await other.call('PATCH', other.path, { email: body.email }), taken);
    const rivals = kim();
    const race = await Promise.all(
      Array.from({ length: 6 }, () => anybody('POST', '', rivals, randomUUID())),
    );
    t.deepEqual(race.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409]);
  },
);

test.serial('what is no member is refused with the field, and no value is repeated', async (t) => {
  const { anybody, join } = await serve(t);
  for (const [field, value] of [
    ['type', 'ROBOT'],
    ['name', ''],
    ['name', ' x'],
    ['name', 'x'.repeat(201)],
    ['name', 'half \ud800'],
    ['address', 'two\nlines'],
    ['email', 'nobody'],
    ['email', 'a@b@c'],
    ['email', 'a b@c'],
    ['district', 7],
    ['password', 'short'],
    ['district', undefined],
    ['admin', true],
  ] as const) {
    const { status, json } = await anybody('POST', '', kim({ [field]: value }), randomUUID());
    t.is(status, 422, field);
    t.is(json.error.details[0].field, field);
  }
  t.is((await anybody('POST', '', kim({ name: '김민지 🌸' }), randomUUID())).status, 201);
  const minji = await join();
  t.is((await minji.call('PATCH', minji.path, {})).status, 422);
  t.is((await minji.call('PATCH', minji.path, { state: 'CLOSED' })).status, 422);
  t.is((await minji.call('GET', '/me')).status, 422);
});

test.serial(
  'each new state and district is told with the next version, nothing personal in it, and nothing else is',
  async (t) => {
    const { staff, join } = await serve(t);
    const minji = await join();
    await minji.call('PATCH', minji.path, { name: 'Lee', address: '2 Teheran-ro' });
    await minji.call('PATCH', minji.path, { district: 'Mapo-gu' });
    await staff('POST', `${minji.path}/suspend`);
    await staff('POST', `${minji.path}/suspend`);
    t.like(await minji.call('PATCH', minji.path, { name: 'x' }), { code: 'MUSTER_MEMBER_SUSPENDED' });
    await staff('POST', `${minji.path}/reopen`);
    t.like((await minji.call('POST', `${minji.path}/close`)).json, { state: 'CLOSED' });
    t.is((await minji.call('POST', `${minji.path}/close`)).status, 200, 'twice is once');
    t.like(await staff('POST', `${minji.path}/reopen`), { status: 409, code: 'MUSTER_MEMBER_CLOSED' });
    const events = await eventsOf(minji.memberId);
    t.deepEqual(
      events.map(({ version, state, district }) => [version, state, district]),
      [
        [1, 'ACTIVE', 'Gangnam-gu'],
        [2, 'ACTIVE', 'Mapo-gu'],
        [3, 'SUSPENDED', 'Mapo-gu'],
        [4, 'ACTIVE', 'Mapo-gu'],
        [5, 'CLOSED', 'Mapo-gu'],
      ],
    );
    t.notRegex(JSON.stringify(events), new RegExp(`kim|lee|teheran|${minji.memberId}`, 'i'));
    const kept = await sql`SELECT * FROM member WHERE member_id = ${minji.memberId}`.execute(db);
    t.like(kept.rows[0], { email: null, password: null });
    t.is((await join({ email: minji.email })).email, minji.email, 'the e-mail is free again');
  },
);

test.serial('changes at once are told one after the other, the last as it stays', async (t) => {
  const { join } = await serve(t);
  const minji = await join();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => minji.call('PATCH', minji.path, { district: `district ${n}` })),
  );
  t.true(answers.every(({ status }) => status === 200));
  const events = await eventsOf(minji.memberId);
  t.deepEqual(
    events.map(({ version }) => version),
    Array.from({ length: 21 }, (_, n) => n + 1),
  );
  t.is(events.at(-1)!.district, (await minji.call('GET', minji.path)).json.district);
});

test.serial('what was committed when the process died is published by the next', async (t) => {
  const { join } = await serve(t);
  const minji = await join();
  t.is((await eventsOf(minji.memberId)).length, 1, 'committed, and nobody has published it');
  const sent: RawRecord[] = [];
  const relay = startOutboxRelay({
    store: outboxStore(db as unknown as Kysely<unknown>),
    database: 'membership',
    producer: {
      async send(records) {
        sent.push(...records);
      },
    },
    registry: createRegistry(),
    log: testLog,
    pollMs: 20,
  });
  const key = `member:${pseudonym(pseudonymKey, minji.memberId)}`;
  await eventually('it is published', () => sent.some((record) => String(record.key) === key));
  await relay.stop();
  const record = sent.find((one) => String(one.key) === key)!;
  t.is(record.topic, 'member-events');
  t.is(record.headers!.ce_id, `${pseudonym(pseudonymKey, minji.memberId)}-1`);
  t.is((await eventsOf(minji.memberId)).length, 0);
});

test.serial('a login gives a token for an hour that is the member’s, in their role', async (t) => {
  const { as, join, login, staff } = await serve(t);
  for (const type of ['PERSON', 'MERCHANT']) {
    const member = await join({ type });
    const { json, status } = await login(` ${member.email.toUpperCase()}`.trim());
    t.is(status, 200);
    t.is(json.memberId, member.memberId);
    const claims = JSON.parse(Buffer.from(json.token.split('.')[1], 'base64url').toString());
    t.like(claims, { sub: member.memberId, role: type === 'PERSON' ? 'customer' : 'merchant' });
    t.is(claims.exp - claims.iat, 3_600);
    t.like((await as(json.token)('GET', member.path)).json, { type });
  }
  const minji = await join();
  await staff('POST', `${minji.path}/suspend`);
  t.like(await login(minji.email), { status: 409, code: 'MUSTER_MEMBER_SUSPENDED' });
  t.like(await login(minji.email, 'wrong'), { status: 401 }, 'told only to who knows the password');
  await staff('POST', `${minji.path}/close`);
  t.like(await login(minji.email), { status: 401, code: 'MUSTER_LOGIN_REFUSED' });
});

test.serial(
  'an unknown e-mail and a wrong password have one answer, also when they are too many',
  async (t) => {
    const { join, login } = await serve(t);
    const minji = await join();
    const guesses = async (email: string, from: string) => {
      const answers = [];
      for (let n = 0; n <= guessLimits.accountFromAddress; n++)
        answers.push(await login(email, `guess ${n}`, from));
      return answers.map(({ status, json }) => ({ status, json }));
    };
    const known = await guesses(minji.email, '127.0.1.1');
    t.deepEqual(known, await guesses(`nobody-${randomUUID()}@example.org`, '127.0.1.2'));
    t.deepEqual(
      known.map(({ status }) => status),
      [401, 401, 401, 401, 401, 429],
    );
    const { status, retryAfter } = await login(minji.email, password, '127.0.1.1');
    t.is(status, 429, 'also with the right password');
    t.true(Number(retryAfter) > 0 && Number(retryAfter) <= guessLimits.windowMs / 1_000);
  },
);

test.serial('guesses that come at once are counted, too', async (t) => {
  const { join, login } = await serve(t);
  const minji = await join();
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) => login(minji.email, `guess ${n}`, '127.0.2.1')),
  );
  t.is(answers.filter(({ status }) => status === 401).length, guessLimits.accountFromAddress);
  t.is(answers.filter(({ status }) => status === 429).length, 40 - guessLimits.accountFromAddress);
});

test.serial(
  'strangers who guess from many addresses are stopped, and do not lock the member out',
  async (t) => {
    const { join, login } = await serve(t);
    const minji = await join();
    t.is((await login(minji.email, password, '127.0.3.1')).status, 200);
    const statuses: number[] = [];
    for (let n = 0; n < guessLimits.account + 5; n++)
      statuses.push((await login(minji.email, 'guess', `127.0.4.${1 + n}`)).status);
    t.is(statuses.filter((status) => status === 401).length, guessLimits.account);
    t.is(
      (await login(minji.email, password, '127.0.3.1')).status,
      200,
      'from where they have logged in before',
    );
    t.is((await login(minji.email, password, '127.0.3.2')).status, 429, 'not from elsewhere, for a while');
  },
);

test.serial('one address cannot try one password on many accounts', async (t) => {
  const { login } = await serve(t);
  const answers = await Promise.all(
    Array.from({ length: guessLimits.address }, () =>
      login(`${randomUUID()}@example.org`, '12345678', '127.0.5.1'),
    ),
  );
  t.true(answers.every(({ status }) => status === 401));
  t.is((await login(`${randomUUID()}@example.org`, '12345678', '127.0.5.1')).status, 429);
});

test.serial('while the database is away nobody logs in or joins, and no try is used up', async (t) => {
  const here = await serve(t);
  const minji = await here.join();
  const away = databaseAway<MembershipTables>();
  t.teardown(() => away.destroy());
  const there = await serve(t, { database: async () => away });
  for (let n = 0; n < 2 * guessLimits.accountFromAddress; n++)
    t.like(await there.login(minji.email, password, '127.0.6.1'), {
      status: 503,
      code: 'MUSTER_DATABASE_DOWN',
    });
  t.like(await there.anybody('POST', '', kim(), randomUUID()), { status: 503 });
  t.is((await here.login(minji.email, password, '127.0.6.1')).status, 200);
});

test.serial('while Redis is away nobody logs in, and who is logged in notices nothing', async (t) => {
  const { join, login } = await serve(t, {
    redis: async () => {
      throw new NotNowError('MUSTER_REDIS_DOWN', 'nobody answers');
    },
  });
  const minji = await join();
  t.like(await login(minji.email), { status: 503, code: 'MUSTER_REDIS_DOWN' });
  t.is((await minji.call('PATCH', minji.path, { district: 'Jung-gu' })).status, 200);
  t.like(await minji.call('GET', minji.path), { status: 200, json: { district: 'Jung-gu' } });
});

test.serial('where the site makes the tokens, login says so', async (t) => {
  const { join, login } = await serve(t, { signingKey: undefined });
  const minji = await join();
  t.like(await login(minji.email), { status: 404, code: 'MUSTER_LOGIN_ELSEWHERE' });
});
