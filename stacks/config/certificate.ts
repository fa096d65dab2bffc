/** The certificate by which the gateways of an environment speak TLS: made by `./muster`, or the site's. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Environment } from '../../catalog/environments.ts';
import { gatewayNames } from './gateway.ts';
import type { Secrets } from './secrets.ts';

/** Where one that is made lies, beside the secrets: certificate and key. */
export const madeCertificate = (folder: string): string => join(folder, 'gateway.pem');

/** What a certificate that is made is for. */
export const certificateNames = (environment: Environment): readonly string[] => [
  ...new Set(['localhost', '127.0.0.1', ...gatewayNames(environment), ...gatewayNames(environment, 'pages')]),
];

/** The certificate of the environment's own authority, for whoever is to trust it. */
export const authorityPem = ({ tlsAuthority }: Pick<Secrets, 'tlsAuthority'>): string =>
  `-----BEGIN CERTIFICATE-----\n${tlsAuthority.replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;

/** Why a certificate with its key cannot be used for these names; undefined: it can. */
export function faultOf(pem: string, names: readonly string[]): string | undefined {
  let certificate: X509Certificate;
  let isItsKey: boolean;
  try {
    certificate = new X509Certificate(pem);
    isItsKey = certificate.checkPrivateKey(createPrivateKey(pem));
  } catch {
    return 'holds no certificate with its key (PEM)';
  }
  if (!isItsKey) return 'holds the key of another certificate';
  if (certificate.validToDate.getTime() < Date.now()) return `has expired on ${certificate.validTo}`;
  const lacking = names.filter(
    (name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) === undefined,
  );
  return lacking.length === 0 ? undefined : `is not for ${lacking.join(', ')}`;
}

/** Certificate, chain and key as PEM; undefined where the gateways speak plain HTTP. Throws MUSTER_CONFIG_CERTIFICATE. */
export function readCertificate(environment: Environment, folder: string): string | undefined {
  const { tls, name, hostNames } = environment;
  if (tls === undefined) return undefined;
  const [file, help] =
    tls === 'made'
      ? [madeCertificate(folder), `./muster --env ${name} env makes it`]
      : [tls.certificateFile, 'catalog/environments.ts names it'];
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (error) {
    throw unusable(`cannot read ${file} (${(error as NodeJS.ErrnoException).code}); ${help}`);
  }
  const fault = faultOf(pem, hostNames);
  if (fault !== undefined) throw unusable(`${file} ${fault}; ${help}`);
  return pem;
}

const unusable = (message: string): Error =>
  Object.assign(new Error(`MUSTER_CONFIG_CERTIFICATE: ${message}`), { code: 'MUSTER_CONFIG_CERTIFICATE' });
