import test from 'ava';
import { createLog } from '../base/log.ts';
import { startTestHttp } from '../http/testing.ts';
import { makeTokenKeys, tokenVerifier } from '../http/tokens.ts';
import type { Worker } from '../platform/worker.ts';
import { worker } from './worker.ts';

test('only a page of this server gets tokens for the people whom it plays', async (t) => {
  const { signingKey, verifyKey } = makeTokenKeys();
  const log = createLog({ process: 'api', level: 'error' });
  const http = await startTestHttp({ log, tokens: undefined });
  t.teardown(() => http.close(100));
  const config = { MUSTER_ENV: 'dev', CONSOLE_JAEGER_URL: '', TOKEN_SIGNING_KEY: signingKey };
  await (worker as unknown as Worker).start({ config, http: http.app, log } as never);
  await http.open();
  const url = `http://127.0.0.1:${http.address().port}`;
  const ask = (body: object, headers: Record<string, string>) =>
    fetch(`${url}/console/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  const people = { role: 'customer', users: ['u1', 'u2'] };

  const answer = await ask(people, { origin: url });
  t.is(answer.headers.get('cache-control'), 'no-store');
  const { tokens } = (await answer.json()) as { tokens: string[] };
  const principals = await Promise.all(tokens.map(tokenVerifier({ verifyKey })));
  t.deepEqual(
    principals.map(({ role, subject }) => `${role} ${subject}`),
    ['customer u1', 'customer u2'],
  );
  t.is((await ask(people, {})).status, 403);
  t.is((await ask(people, { origin: 'http://evil.example' })).status, 403);
  t.is((await ask({ role: 'root', users: ['u1'] }, { origin: url })).status, 422);
  t.is((await fetch(`${url}/console`)).status, 200);
});
