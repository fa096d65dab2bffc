import test from 'ava';
import { isPassword, keepPassword } from './password.ts';

test.serial('a password is right by what is kept of it, no other is, and by nothing none', async (t) => {
  const kept = await keepPassword('correct horse');
  t.regex(kept, /^\$scrypt\$ln=14,r=8,p=5\$[\w-]{22}\$[\w-]{43}$/);
  t.not(await keepPassword('correct horse'), kept, 'a salt each');
  t.true(await isPassword('correct horse', kept));
  t.false(await isPassword('correct horsf', kept));
  t.false(await isPassword('correct horse', undefined));
  // Typed on another keyboard: one text in two forms.
  t.true(await isPassword('e\u0301e\u0301e\u0301', await keepPassword('ééé')));
});

test.serial('what was kept at another cost is still read', async (t) => {
  // RFC 7914, section 12: the third vector, its first half.
  const hash = Buffer.from('7023bdcb3afd7348461c06cd81fd38eb', 'hex');
  const cheaper = await import('node:crypto').then(({ scryptSync }) =>
    scryptSync('pleaseletmein', 'SodiumChloride', 32, { N: 16_384, r: 8, p: 1 }),
  );
  t.deepEqual(cheaper.subarray(0, 16), hash);
  const kept = `$scrypt$ln=14,r=8,p=1$${Buffer.from('SodiumChloride').toString('base64url')}$${cheaper.toString('base64url')}`;
  t.true(await isPassword('pleaseletmein', kept));
  t.false(await isPassword('pleaseletmeout', kept));
});

test.serial('of many at once some are told to come again; the others get their answer', async (t) => {
  const answers = await Promise.allSettled(Array.from({ length: 60 }, () => isPassword('x', undefined)));
  const refused = answers.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
  t.is(refused.length, 8);
  for (const { reason } of refused) t.like(reason, { code: 'MUSTER_PASSWORDS_BUSY', isNotNow: true });
  t.true(answers.filter(({ status }) => status === 'fulfilled').length === 52);
});
