import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { environments } from '../catalog/environments.ts';
import { authorityPem, certificateNames, faultOf, readCertificate } from '../stacks/config/certificate.ts';
import { ensureCertificate, makeAuthority, makeCertificate, trustAuthority } from './certificate.ts';

/** Until the test ends. */
function newFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'muster-certificate-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const environment = { ...environments.prod, tls: 'made' } as const;
const names = certificateNames(environment);

test('a certificate that is made is for every name of the gateways, by the authority, and only its owner can read the key', async (t) => {
  const folder = newFolder(t);
  const authority = await makeAuthority();
  const file = join(folder, 'secrets.json');
  await ensureCertificate(environment, file, authority);
  const pem = readCertificate(environment, folder)!;
  t.is(statSync(join(folder, 'gateway.pem')).mode & 0o777, 0o600);
  const certificate = new X509Certificate(pem);
  const issuer = new X509Certificate(readFileSync(join(folder, 'ca.pem')));
  t.true(issuer.ca);
  t.true(certificate.checkIssued(issuer));
  t.true(certificate.verify(issuer.publicKey));
  t.false(certificate.ca);
  for (const name of ['localhost', 'edge.muster.internal', 'api.muster.internal'])
    t.is(certificate.checkHost(name), name);
  t.is(certificate.checkIP('127.0.0.1'), '127.0.0.1');
  t.false(readFileSync(join(folder, 'ca.pem'), 'utf8').includes('PRIVATE'));
  // Browsers take none that lasts longer.
  const days = (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / 86_400_000;
  t.true(days <= 825);
  await ensureCertificate(environment, file, authority);
  t.is(readCertificate(environment, folder), pem, 'it stays');
});

test('what trusts the authority of an environment asks there by https, and nobody else does', async (t) => {
  const file = join(newFolder(t), 'secrets.json');
  await ensureCertificate(environment, file, await makeAuthority());
  const pem = readCertificate(environment, dirname(file))!;
  const server = createServer({ cert: pem, key: pem }, (_, answer) => answer.end('there'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await t.throwsAsync(fetch(url));
  await trustAuthority(environment, file);
  t.is(await (await fetch(url, { headers: { connection: 'close' } })).text(), 'there');
});

test('a certificate is made anew when half of its time is over, for another name, and by another authority', async (t) => {
  const folder = newFolder(t);
  const file = join(folder, 'secrets.json');
  const authority = await makeAuthority();
  const pem = join(folder, 'gateway.pem');
  const isRenewed = async (present: string) => {
    writeFileSync(pem, present);
    await ensureCertificate(environment, file, authority);
    return readFileSync(pem, 'utf8') !== present;
  };
  const dayMs = 86_400_000;
  t.false(await isRenewed(await makeCertificate(authority, names)));
  t.false(await isRenewed(await makeCertificate(authority, names, Date.now() - 400 * dayMs)));
  t.true(await isRenewed(await makeCertificate(authority, names, Date.now() - 420 * dayMs)));
  t.true(await isRenewed(await makeCertificate(authority, names.slice(1))));
  t.true(await isRenewed(await makeCertificate(await makeAuthority(), names)));
  t.true(await isRenewed('half a file'));
});

test('a certificate of the site’s that cannot be used is refused with the reason, and its key is in no message', async (t) => {
  const folder = newFolder(t);
  const authority = await makeAuthority();
  const certificateFile = join(folder, 'site.pem');
  const site = { ...environment, tls: { certificateFile } };
  const refused = (text: string) => {
    writeFileSync(certificateFile, text);
    const { message, code } = t.throws(() => readCertificate(site, folder), {
      instanceOf: Error,
    }) as Error & { code: string };
    t.is(code, 'MUSTER_CONFIG_CERTIFICATE');
    t.false(message.includes('PRIVATE'));
    return message;
  };
  const good = await makeCertificate(authority, ['api.muster.internal']);
  const other = await makeCertificate(authority, ['api.muster.internal']);
  const [certificate] = good.split('-----BEGIN PRIVATE');
  t.regex(refused(certificate!), /no certificate with its key/);
  t.regex(refused(`${certificate}-----BEGIN PRIVATE${other.split('-----BEGIN PRIVATE')[1]}`), /another/);
  t.regex(refused(await makeCertificate(authority, ['localhost'])), /is not for api\.muster\.internal/);
  t.regex(refused(await makeCertificate(authority, ['api.muster.internal'], 0)), /expired/);
  writeFileSync(certificateFile, good);
  t.is(readCertificate(site, folder), good);
  rmSync(certificateFile);
  t.throws(() => readCertificate(site, folder), { code: 'MUSTER_CONFIG_CERTIFICATE', message: /ENOENT/ });
  t.is(faultOf(`${good}${authorityPem(authority)}`, []), undefined, 'with a chain');
});
