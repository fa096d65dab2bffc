/** Certificates that are made for an environment: its authority once, as a secret, and that of its gateways again in good time. */
import { createPrivateKey, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { Environment } from '../catalog/environments.ts';
import { authorityPem, certificateNames, faultOf, madeCertificate } from '../stacks/config/certificate.ts';
import type { Secrets } from '../stacks/config/secrets.ts';

type Authority = Pick<Secrets, 'tlsAuthorityKey' | 'tlsAuthority'>;

const dayMs = 86_400_000;
/** The most that every browser takes, of an authority that its owner trusts. */
const lifeMs = 825 * dayMs;

const keys = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
const newKeys = () => webcrypto.subtle.generateKey(keys, true, ['sign', 'verify']);

/** It takes a while to load, and is needed once in a year. */
async function library() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** Where the certificate of the authority lies, for whoever is to trust it. */
export const authorityFile = (secretsFile: string): string => join(dirname(secretsFile), 'ca.pem');

/** Made once, like a password: who trusts it need not hear of it again. */
export async function makeAuthority(): Promise<Authority> {
  const x509 = await library();
  const pair = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=muster',
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + 100 * 365 * dayMs),
    signingAlgorithm,
    keys: pair,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(pair.publicKey),
    ],
  });
  const key = KeyObject.from(pair.privateKey).export({ format: 'der', type: 'pkcs8' });
  return {
    tlsAuthorityKey: key.toString('base64'),
    tlsAuthority: Buffer.from(certificate.rawData).toString('base64'),
  };
}

/** Certificate and key for these names, as PEM. */
export async function makeCertificate(
  authority: Authority,
  names: readonly string[],
  fromMs = Date.now() - dayMs,
): Promise<string> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(authority.tlsAuthority);
  const pair = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=muster gateway',
    issuer: issuer.subject,
    // A clock may be behind.
    notBefore: new Date(fromMs),
    notAfter: new Date(fromMs + lifeMs),
    signingAlgorithm,
    publicKey: pair.publicKey,
    signingKey: createPrivateKey({
      key: Buffer.from(authority.tlsAuthorityKey, 'base64'),
      format: 'der',
      type: 'pkcs8',
    }).toCryptoKey(keys, false, ['sign']),
    extensions: [
      new x509.BasicConstraintsExtension(false),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(pair.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  const key = KeyObject.from(pair.privateKey).export({ format: 'pem', type: 'pkcs8' });
  return `${certificate.toString('pem')}\n${key}`;
}

/** Whether one that was made can stay: it is for these names, of this authority, and less than half of its time is over. */
function isGood(pem: string, authority: Authority, names: readonly string[]): boolean {
  if (faultOf(pem, names) !== undefined) return false;
  const certificate = new X509Certificate(pem);
  const { publicKey } = new X509Certificate(authorityPem(authority));
  return certificate.verify(publicKey) && certificate.validToDate.getTime() > Date.now() + lifeMs / 2;
}

/** Makes the certificate of the environment's gateways where it wants one and has none that can stay; beside its secrets. */
export async function ensureCertificate(
  environment: Environment,
  secretsFile: string,
  secrets: Authority,
): Promise<void> {
  if (environment.tls !== 'made') return;
  const file = madeCertificate(dirname(secretsFile));
  const names = certificateNames(environment);
  const present = await readFile(file, 'utf8').catch(() => '');
  if (!isGood(present, secrets, names)) await put(file, await makeCertificate(secrets, names), 0o600);
  await put(authorityFile(secretsFile), authorityPem(secrets), 0o644);
}

/** Written aside and renamed: a run cut off half-way leaves no half file. */
async function put(file: string, text: string, mode: number): Promise<void> {
  const aside = `${file}.${process.pid}`;
  await writeFile(aside, text, { mode });
  await rename(aside, file);
}

/** From here on this process trusts the authority of the environment, beside those that it trusts already. */
export async function trustAuthority(environment: Environment, secretsFile: string): Promise<void> {
  if (environment.tls !== 'made') return;
  const own = await readFile(authorityFile(secretsFile), 'utf8').catch(() => undefined);
  if (own !== undefined) setDefaultCACertificates([...getCACertificates('default'), own]);
}
