import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { askingProcesses } from '../catalog/services.ts';
import { secretNames, serviceTokenOf } from '../stacks/config/secrets.ts';
import { tokenVerifier } from '../workers/http/tokens.ts';
import { ensureSecrets } from './secrets.ts';

const folder = mkdtempSync(join(tmpdir(), 'muster-secrets-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

test('secrets are made once, differ, and only their owner can read them', async (t) => {
  const file = join(folder, 'new', 'secrets.json');
  const first = await ensureSecrets(file);
  t.true(first.made);
  t.is(new Set(Object.values(first.secrets)).size, secretNames.length);
  t.regex(first.secrets.pseudonymKey, /^[0-9a-f]{64}$/);
  t.regex(first.secrets.mysqlPassword, /^[A-Za-z0-9]{24,}$/);
  const verify = tokenVerifier({ verifyKey: first.secrets.tokenVerifyKey });
  t.like(await verify(first.secrets.trafficToken), { role: 'merchant', subject: 'traffic' });
  for (const process of askingProcesses)
    t.like(await verify(first.secrets[serviceTokenOf(process)]!), { role: 'service', subject: process });
  t.is(statSync(file).mode & 0o777, 0o600);
  t.is(statSync(join(folder, 'new')).mode & 0o777, 0o700);
  const second = await ensureSecrets(file);
  t.false(second.made);
  t.deepEqual(second.secrets, first.secrets);
});

test('a secret that is new is added, those that exist stay, and loose rights are tightened', async (t) => {
  const file = join(folder, 'partial.json');
  writeFileSync(file, JSON.stringify({ mysqlPassword: 'kept' }));
  chmodSync(file, 0o644);
  const { secrets } = await ensureSecrets(file);
  t.is(secrets.mysqlPassword, 'kept');
  t.regex(secrets.redisPassword, /^[A-Za-z0-9]{24,}$/);
  t.is(statSync(file).mode & 0o777, 0o600);
});

test('a token that keys of before have signed is made anew with the keys', async (t) => {
  const file = join(folder, 'keys.json');
  const { secrets: before } = await ensureSecrets(file);
  writeFileSync(file, JSON.stringify({ ...before, tokenSigningKey: undefined }));
  const { secrets } = await ensureSecrets(file);
  const verify = tokenVerifier({ verifyKey: secrets.tokenVerifyKey });
  t.like(await verify(secrets.trafficToken), { subject: 'traffic' });
  t.is(secrets.mysqlPassword, before.mysqlPassword);
});

test('a file that cannot be read as secrets is never written over', async (t) => {
  const file = join(folder, 'broken.json');
  writeFileSync(file, '{"mysqlPassword": "x"');
  await t.throwsAsync(ensureSecrets(file), { code: 'MUSTER_SECRETS' });
  t.is(readFileSync(file, 'utf8'), '{"mysqlPassword": "x"');
});
