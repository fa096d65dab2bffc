import test from 'ava';
import type { Answer } from './outgoing.ts';
import { saidOf } from './said.ts';

const isBody = (body: unknown): body is { id: string } => typeof (body as { id?: unknown })?.id === 'string';
const said = (answer: Partial<Answer>) =>
  saidOf({ outcome: '2xx', status: 200, inDoubt: false, ...answer }, isBody, new Set(['MUSTER_MONEY_SHORT']));
const error = (code: string) => ({ outcome: '4xx', status: 409, body: { error: { code } } }) as const;

test('a success that was agreed is one, and no other', (t) => {
  t.deepEqual(said({ body: { id: 'a' } }), { kind: 'OK', body: { id: 'a' } });
  t.is(said({ body: {} }).kind, 'UNCLEAR');
  t.is(said({}).kind, 'UNCLEAR');
});

test('only a refusal that was named ends it: another may mean that the question was wrong', (t) => {
  t.deepEqual(said(error('MUSTER_MONEY_SHORT')), { kind: 'REFUSED', reason: 'MONEY_SHORT' });
  for (const code of ['MUSTER_VALIDATION', 'MUSTER_FORBIDDEN', 'MUSTER_IDEMPOTENCY_KEY_REUSED', 'else'])
    t.is(said(error(code)).kind, 'UNCLEAR', code);
  t.is(said({ ...error('MUSTER_MONEY_SHORT'), outcome: '5xx', status: 503 }).kind, 'UNCLEAR');
});

test('what certainly did not leave is told apart from what may have arrived', (t) => {
  t.is(said({ outcome: 'breaker', status: null }).kind, 'AWAY');
  t.is(said({ outcome: 'network', status: null }).kind, 'AWAY');
  t.is(said({ outcome: 'network', status: null, inDoubt: true }).kind, 'UNCLEAR');
  t.is(said({ outcome: 'timeout', status: null, inDoubt: true }).kind, 'UNCLEAR');
});
