/** Secrets of an environment, made by the command on first use and kept outside the repository. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Environment } from '../../catalog/environments.ts';
import { askingProcesses } from '../../catalog/services.ts';

const fixedNames = [
  'mysqlPassword',
  'mysqlRootPassword',
  'redisPassword',
  'grafanaPassword',
  'cmakSecret',
  'cmakPassword',
  'pseudonymKey',
  'backupKey',
  // Both halves of the key of the tokens that say who calls, and the tokens of the traffic.
  'tokenSigningKey',
  'tokenVerifyKey',
  'trafficToken',
  'trafficStaffToken',
  'trafficCustomerToken',
  'trafficOwnerToken',
  'trafficRiderToken',
  // Who signs the certificates that are made for the gateways: its key (PKCS #8) and its own certificate, DER in base64.
  'tlsAuthorityKey',
  'tlsAuthority',
] as const;

/** Keys of 32 bytes; the others are passwords and tokens. */
export const hexKeys: readonly SecretName[] = ['pseudonymKey', 'backupKey'];

type ServiceToken = `serviceToken:${string}`;
/** Where the token lies by which a process asks others. */
export const serviceTokenOf = (process: string): ServiceToken => `serviceToken:${process}`;

export type SecretName = (typeof fixedNames)[number] | ServiceToken;
export const secretNames: readonly SecretName[] = [...fixedNames, ...askingProcesses.map(serviceTokenOf)];

export type Secrets = Readonly<Record<SecretName, string>>;

/** Tells these secrets from others and says nothing of them: of a key that is never made anew. */
export const secretsMark = ({ pseudonymKey }: Secrets): string =>
  createHash('sha256').update(`secrets of ${pseudonymKey}`).digest('hex');

/** Whose tokens count, as a worker reads it. */
export function tokenVariables({ siteTokens }: Environment, secrets: Secrets): Record<string, string> {
  if (siteTokens === undefined) return { TOKEN_VERIFY_KEY: secrets.tokenVerifyKey };
  const { jwksUrl, issuer, audience } = siteTokens;
  return { TOKEN_JWKS_URL: jwksUrl, TOKEN_ISSUER: issuer, TOKEN_AUDIENCE: audience };
}

/** The workers that make tokens: the console for the people it plays, membership for who logs in. */
const signing: readonly string[] = ['console', 'membership'];

/** The key that tokens are made by, for a process that makes some; where the site makes them nobody has one. */
export function signingVariables(
  { siteTokens }: Environment,
  secrets: Secrets,
  workers: readonly string[],
): Record<string, string> {
  return siteTokens === undefined && workers.some((worker) => signing.includes(worker))
    ? { TOKEN_SIGNING_KEY: secrets.tokenSigningKey }
    : {};
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

/** For files that are rendered to be read by people: the places show, the values do not. */
export const secretsToShow: Secrets = Object.fromEntries(
  secretNames.map((name) => [name, `from-secrets-json-${name}`]),
) as Secrets;

/** Reads secrets.json. Throws MUSTER_SECRETS_MISSING, MUSTER_SECRETS_INCOMPLETE; never prints a value. */
export function readSecrets(file: string | undefined): Secrets {
  if (file === undefined || file === '')
    throw coded('MUSTER_SECRETS_MISSING', 'MUSTER_SECRETS_FILE is not set; run: eval "$(./muster env)"');
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw coded(
      'MUSTER_SECRETS_MISSING',
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? 'not JSON'}); ./muster env makes it`,
    );
  }
  const record = (parsed ?? {}) as Record<string, unknown>;
  const bad = secretNames.filter((name) => typeof record[name] !== 'string' || record[name] === '');
  if (bad.length > 0) throw coded('MUSTER_SECRETS_INCOMPLETE', `${file} lacks ${bad.join(', ')}`);
  for (const name of hexKeys)
    if (!/^[0-9a-f]{64}$/i.test(record[name] as string))
      throw coded('MUSTER_SECRETS_INCOMPLETE', `${file}: ${name} must be 64 hex digits`);
  const unsafe = secretNames.filter((name) => /[\s"'\\#]/.test(record[name] as string));
  if (unsafe.length > 0)
    throw coded(
      'MUSTER_SECRETS_INCOMPLETE',
      `${file}: ${unsafe.join(', ')} may not hold spaces, quotes, backslashes or #`,
    );
  return Object.fromEntries(secretNames.map((name) => [name, record[name] as string])) as Secrets;
}
