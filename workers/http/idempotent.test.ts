import test from 'ava';
import type { FastifyRequest } from 'fastify';
import { onceOf } from './idempotent.ts';
import type { Role } from './tokens.ts';

const secret = Buffer.alloc(32, 1);

function scopeOf(role: Role | undefined, subject = 'x1', user?: string): string {
  const request = {
    method: 'POST',
    url: '/things',
    body: {},
    headers: { 'idempotency-key': 'k' },
    principal: role === undefined ? undefined : { role, subject, expiresAtMs: 0 },
  } as unknown as FastifyRequest;
  return onceOf(request, 'shop', secret, user === undefined ? {} : { user })!.scope;
}

test('a key belongs to who calls: another role of the same name does not share it', (t) => {
  t.is(scopeOf('customer'), scopeOf('customer'));
  const scopes = [
    scopeOf('customer'),
    scopeOf('merchant'),
    scopeOf('operator'),
    scopeOf('customer', 'x2'),
    scopeOf(undefined),
  ];
  t.is(new Set(scopes).size, scopes.length);
  for (const scope of scopes) t.regex(scope, /^shop:[\x21-\x7e]{1,100}$/);
  t.false(scopes.join().includes('x1'), 'nobody is named');
});

test('a key belongs to the user that is named, whoever calls for them', (t) => {
  t.is(scopeOf('operator', 'kim', 'u_1'), scopeOf('customer', 'x1', 'u_1'));
});
