/** HTTP of members. The only answers of my-pay that name people, to themselves and to staff. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import type { Counter, Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import { Type } from 'typebox';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { metrics } from '../../catalog/metrics.ts';
import { counter } from '../base/metrics.ts';
import { errorBody, failures, HttpError, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { members, onlyOf } from '../http/principals.ts';
import { type Role, signToken } from '../http/tokens.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { beginGuess } from './guesses.ts';
import {
  type Member,
  type MemberChange,
  type MemberDetails,
  type MemberType,
  suspended,
  tidy,
  unknownMember,
} from './member.ts';
import { isPassword, keepPassword } from './password.ts';
import { createMember, findByEmail, findMember, type MembershipTables, saveMember } from './store.ts';

export interface MembershipRoutesOptions {
  database(): Promise<Kysely<MembershipTables>>;
  redis(): Promise<RedisClientType>;
  readonly pseudonymKey: Buffer;
  /** What tokens are made by; undefined: the site's identity provider logs people in. */
  readonly signingKey: string | undefined;
  readonly registry: Registry;
}

/** How long a login lasts. */
const tokenMs = 3_600_000;
const roleOf: Readonly<Record<MemberType, Role>> = { PERSON: 'customer', MERCHANT: 'merchant' };

const tags = ['members'];
const staff = { callers: ['operator'] } as const;
const self = { callers: ['customer', 'merchant', 'operator'] } as const;
const open = { callers: 'anyone' } as const;

/** Visible from its first character on, without control characters and halves of surrogate pairs: of linear cost to check. */
const text = (maxLength: number, description: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: '^[^\\p{Cc}\\p{Cs}\\s][^\\p{Cc}\\p{Cs}]*$',
    description,
  });
/** Most characters, as its columns have them. */
const longest = { name: 200, email: 254, address: 300, district: 100 } as const;
const email = Type.String({
  minLength: 3,
  maxLength: longest.email,
  pattern: '^[^\\p{Cc}\\p{Cs}\\s@]+@[^\\p{Cc}\\p{Cs}\\s@]+$',
  description: 'one member an e-mail, whether written large or small',
});
const details = {
  name: text(longest.name, 'of the person or the shop'),
  email,
  address: text(longest.address, 'street and number'),
  district: text(longest.district, 'the district that the address is in, e.g. Gangnam-gu'),
};

/** Details in their one form, in which some text is longer than as it was written. Throws 422. */
function tidied<Details extends Partial<MemberDetails>>(given: Details): Details {
  const plain = tidy(given);
  for (const field of Object.keys(longest) as (keyof MemberDetails)[])
    if ([...(plain[field] ?? '')].length > longest[field])
      throw new HttpError(422, 'MUSTER_VALIDATION', 'the body is not valid', [
        { field, reason: 'is too long' },
      ]);
  return plain;
}
const memberType = Type.Enum(['PERSON', 'MERCHANT']);
const uuid = Type.String({ pattern: uuidPattern });
const memberPath = Type.Object({ memberId: uuid });
const memberBody = Type.Object({
  memberId: Type.String(),
  type: memberType,
  state: Type.Enum(['ACTIVE', 'SUSPENDED', 'CLOSED']),
  district: Type.String(),
  // A service of ours sees what is above, and nothing else.
  name: Type.Optional(Type.String()),
  email: Type.Optional(Type.String({ description: 'a closed member has none' })),
  address: Type.Optional(Type.String()),
});

export function registerMembershipRoutes(http: FastifyInstance, options: MembershipRoutesOptions): void {
  const app = typed(http);
  const changes = counter(options.registry, metrics.membership.changes);
  registerCreate(app, options, changes);
  registerLogin(app, options);
  registerMember(app, options, changes);
}

type Changes = Counter<'kind'>;

function registerCreate(
  app: TypedHttp,
  { database, pseudonymKey }: MembershipRoutesOptions,
  changes: Changes,
): void {
  app.post(
    '/pay/members',
    {
      config: open,
      schema: {
        summary: 'Become a member: a person or a merchant',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            type: memberType,
            ...details,
            password: Type.String({
              minLength: 8,
              maxLength: 200,
              pattern: '^[^\\p{Cs}]+$',
              description: 'what is kept of it is a hash',
            }),
          },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ memberId: Type.String() }), ...failures },
      },
    },
    async (request, reply) => {
      const { password, ...member } = request.body;
      const plain = tidied(member);
      // Without the password: a hash that is quick to make must not tell it, and a repeat changes none.
      const once = onceOf(request, 'membership', pseudonymKey, { asked: ['POST', request.url, member] })!;
      const kept = await keepPassword(password);
      const created = await createMember(await database(), { ...plain, password: kept }, once, {
        pseudonymKey,
        nowMs: Date.now(),
      });
      if (!created.ok) throw refused(created.refusal);
      changes.inc({ kind: 'CREATED' });
      return reply.code(201).send({ memberId: created.memberId });
    },
  );
}

function registerLogin(
  app: TypedHttp,
  { database, redis, pseudonymKey, signingKey, registry }: MembershipRoutesOptions,
): void {
  const logins = counter(registry, metrics.membership.logins);

  app.post(
    '/pay/members/login',
    {
      config: open,
      schema: {
        summary: 'A token for a member, by e-mail and password',
        description:
          'It lasts an hour: role customer for a person, merchant for a merchant. An unknown e-mail and a wrong password have the same answer. Where a site’s identity provider makes the tokens the answer is 404 MUSTER_LOGIN_ELSEWHERE.',
        tags,
        body: Type.Object(
          { email, password: Type.String({ minLength: 1, maxLength: 200 }) },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({ token: Type.String(), expiresAt: Type.String(), memberId: Type.String() }),
          401: errorBody,
          429: errorBody,
          ...failures,
        },
      },
    },
    async (request, reply) => {
      if (signingKey === undefined)
        throw new HttpError(
          404,
          'MUSTER_LOGIN_ELSEWHERE',
          'the identity provider of the site logs people in',
        );
      const { password } = request.body;
      const { email } = tidy({ email: request.body.email });
      const guess = await beginGuess(await redis(), pseudonymKey, { email, address: request.ip });
      if ('waitMs' in guess) {
        logins.inc({ outcome: 'LIMITED' });
        reply.header('retry-after', String(Math.ceil(guess.waitMs / 1_000)));
        throw new HttpError(429, 'MUSTER_LOGIN_LIMITED', 'there were too many tries: wait before the next');
      }
      let found: Awaited<ReturnType<typeof findByEmail>>;
      let isRight: boolean;
      try {
        found = await findByEmail(await database(), email);
        isRight = await isPassword(password, found?.password);
      } catch (error) {
        logins.inc({ outcome: 'UNAVAILABLE' });
        await guess.untried();
        throw error;
      }
      if (found === undefined || !isRight) {
        logins.inc({ outcome: 'WRONG' });
        throw new HttpError(401, 'MUSTER_LOGIN_REFUSED', 'e-mail or password is wrong');
      }
      await guess.right();
      const { memberId, type, state } = found.member;
      if (state !== 'ACTIVE') {
        logins.inc({ outcome: 'SUSPENDED' });
        throw refused(suspended.refusal);
      }
      const expiresAt = new Date(Date.now() + tokenMs).toISOString();
      const token = await signToken(signingKey, { role: roleOf[type], subject: memberId, ttlMs: tokenMs });
      logins.inc({ outcome: 'DONE' });
      return reply.header('cache-control', 'no-store').send({ token, expiresAt, memberId });
    },
  );
}

function registerMember(app: TypedHttp, { database }: MembershipRoutesOptions, changes: Changes): void {
  /** Throws 404 also when it is another member. */
  function owned(request: Pick<FastifyRequest, 'principal'>, memberId: string): 'member' | 'staff' {
    const only = onlyOf(request, members);
    if (only !== undefined && only !== memberId) throw refused(unknownMember.refusal);
    return only === undefined ? 'staff' : 'member';
  }

  async function change(
    request: Pick<FastifyRequest, 'principal'>,
    memberId: string,
    wanted: MemberChange,
    kind: string,
  ) {
    const by = owned(request, memberId);
    const changed = await saveMember(await database(), memberId, wanted, by, Date.now());
    if (!changed.ok) throw refused(changed.refusal);
    changes.inc({ kind });
    return viewOf(request, changed.member);
  }

  app.get(
    '/pay/members/:memberId',
    {
      config: { callers: ['customer', 'merchant', 'operator', 'service'] },
      schema: {
        summary: 'Who a member is, and whether in good standing',
        description: 'A service of ours is told type, state and district, nothing that names anybody.',
        tags,
        params: memberPath,
        response: { 200: memberBody, ...failures },
      },
    },
    async (request) => {
      const { memberId } = request.params;
      owned(request, memberId);
      const member = await findMember(await database(), memberId);
      if (member === undefined) throw refused(unknownMember.refusal);
      return viewOf(request, member);
    },
  );

  app.patch(
    '/pay/members/:memberId',
    {
      config: self,
      schema: {
        summary: 'Change details: name, e-mail, address, district',
        tags,
        params: memberPath,
        body: Type.Partial(Type.Object(details), { additionalProperties: false, minProperties: 1 }),
        response: { 200: memberBody, ...failures },
      },
    },
    (request) => change(request, request.params.memberId, tidied(request.body), 'CHANGED'),
  );

  for (const [path, config, state, kind, summary, description] of [
    [
      'suspend',
      staff,
      'SUSPENDED',
      'SUSPENDED',
      'Suspend a member',
      'Can neither log in nor send or get money, and changes nothing by themselves.',
    ],
    ['reopen', staff, 'ACTIVE', 'REOPENED', 'End the suspension of a member', ''],
    [
      'close',
      self,
      'CLOSED',
      'CLOSED',
      'Close a membership, for good',
      'E-mail and password are forgotten at once. Money that is left in the account stays there until staff has paid it out.',
    ],
  ] as const)
    app.post(
      `/pay/members/:memberId/${path}`,
      {
        config,
        schema: {
          summary,
          description: `${description} The same again changes nothing.`.trim(),
          tags,
          params: memberPath,
          response: { 200: memberBody, ...failures },
        },
      },
      (request) => change(request, request.params.memberId, { state }, kind),
    );
}

/** A member as the caller may see it. */
function viewOf({ principal }: Pick<FastifyRequest, 'principal'>, member: Member) {
  const { memberId, type, state, district, name, email, address } = member;
  const known = { memberId, type, state, district };
  if (principal?.role === 'service') return known;
  return { ...known, name, ...(email === undefined ? {} : { email }), address };
}
