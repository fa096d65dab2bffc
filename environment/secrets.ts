/** Secrets of an environment: made once, kept outside the repository, readable by their owner only. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { askingProcesses } from '../catalog/services.ts';
import {
  hexKeys,
  type SecretName,
  type Secrets,
  secretNames,
  serviceTokenOf,
} from '../stacks/config/secrets.ts';
import { MusterError } from '../workers/base/errors.ts';
import { makeTokenKeys, type Role, signToken } from '../workers/http/tokens.ts';
import { makeAuthority } from './certificate.ts';

/** Letters and digits only, so that a value survives every shell, URL and configuration file unquoted. */
function password(): string {
  return randomBytes(24)
    .toString('base64')
    .replaceAll(/[^A-Za-z0-9]/g, 'x');
}

/**
 * Who gets a token of their own: the traffic, as the merchant who brings purchases and acts in, as the staff of my-pay that
 * makes contracts with banks, and as the people of food delivery; a service asks others.
 */
const tokens: readonly { readonly name: SecretName; readonly role: Role; readonly subject: string }[] = [
  { name: 'trafficToken', role: 'merchant', subject: 'traffic' },
  { name: 'trafficStaffToken', role: 'operator', subject: 'traffic-staff' },
  { name: 'trafficCustomerToken', role: 'customer', subject: 'traffic' },
  { name: 'trafficOwnerToken', role: 'owner', subject: 'traffic' },
  { name: 'trafficRiderToken', role: 'rider', subject: 'traffic' },
  ...askingProcesses.map(
    (process) => ({ name: serviceTokenOf(process), role: 'service', subject: process }) as const,
  ),
];

/** The values that are not there yet. Keys of tokens are made as a pair, and then all tokens anew by them. */
async function fresh(missing: readonly SecretName[], present: Partial<Secrets>): Promise<Partial<Secrets>> {
  const made: Record<string, string> = {};
  for (const name of missing)
    made[name] = hexKeys.includes(name) ? randomBytes(32).toString('hex') : password();
  const newKeys = missing.includes('tokenSigningKey') || missing.includes('tokenVerifyKey');
  if (newKeys) {
    const { signingKey, verifyKey } = makeTokenKeys();
    Object.assign(made, { tokenSigningKey: signingKey, tokenVerifyKey: verifyKey });
  }
  if (missing.includes('tlsAuthorityKey') || missing.includes('tlsAuthority'))
    Object.assign(made, await makeAuthority());
  for (const { name, role, subject } of tokens)
    if (newKeys || missing.includes(name))
      // For as long as its key: a container cannot ask for another one.
      made[name] = await signToken(made.tokenSigningKey ?? present.tokenSigningKey!, {
        role,
        subject,
        ttlMs: 100 * 365 * 86_400_000,
      });
  return made;
}

/**
 * Reads the environment's secrets; makes the file, or the values it lacks, when needed. What exists never changes:
 * databases were created with these passwords and pseudonyms must stay the same.
 * Throws MUSTER_SECRETS when the file is there and cannot be used.
 */
export async function ensureSecrets(
  file: string,
): Promise<{ readonly secrets: Secrets; readonly made: boolean }> {
  let present: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw new Error('not an object');
    present = parsed as Record<string, unknown>;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      throw new MusterError(
        'MUSTER_SECRETS',
        `${file} cannot be used (${code ?? message}). Repair it, or remove it together with the data: ./muster down --volumes.`,
      );
  }
  const missing = secretNames.filter((name) => typeof present[name] !== 'string' || present[name] === '');
  if (missing.length > 0) {
    const all = { ...present, ...(await fresh(missing, present as Partial<Secrets>)) };
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    // Written aside and renamed: a run cut off half-way leaves no half file.
    const aside = `${file}.${process.pid}`;
    await writeFile(aside, `${JSON.stringify(all, null, 2)}\n`, { mode: 0o600 });
    await rename(aside, file);
    present = all;
  }
  await chmod(file, 0o600);
  return { secrets: present as unknown as Secrets, made: missing.length > 0 };
}
