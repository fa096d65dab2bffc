/** The variables that cdktf, terraform and workers started by hand read; `./muster env` prints them. */
import { join } from 'node:path';
import type { Environment, ImageSource } from '../catalog/environments.ts';
import { brokersOutside, reachFromHost, tokenVariables, urlFromHost } from '../stacks/config/index.ts';
import type { Secrets } from '../stacks/config/secrets.ts';
import { MusterError } from '../workers/base/errors.ts';
import { type Role, signToken } from '../workers/http/tokens.ts';
import { authorityFile, ensureCertificate } from './certificate.ts';
import { stateDirectory } from './paths.ts';
import { ensureSecrets } from './secrets.ts';

/** Where the secrets of an environment lie. */
export function secretsFile(environment: Environment, folder = stateDirectory(environment.name)): string {
  return join(folder, 'secrets.json');
}

/** What an environment is known by, its secrets and where it wants one its certificate: made where they are missing. */
export async function ensureCredentials(environment: Environment): ReturnType<typeof ensureSecrets> {
  const file = secretsFile(environment);
  const ensured = await ensureSecrets(file);
  await ensureCertificate(environment, file, ensured.secrets);
  return ensured;
}

export interface CdktfInputs {
  readonly images: ImageSource;
  /** Registry images that somebody loaded into the engine and that the source itself has not (CMAK, Grafana). */
  readonly localImages: readonly string[];
  readonly dockerHost: string | undefined;
  readonly terraformConfigFile: string | undefined;
}

/** What `cdktf` and `terraform` need in their process environment, beside PATH. */
export function cdktfVariables(environment: Environment, inputs: CdktfInputs): Record<string, string> {
  return {
    MUSTER_ENV: environment.name,
    MUSTER_IMAGES: inputs.images,
    MUSTER_STATE_DIRECTORY: stateDirectory(environment.name),
    MUSTER_SECRETS_FILE: secretsFile(environment),
    CHECKPOINT_DISABLE: '1',
    // cdktf would run `terraform providers lock`, which asks the registry even when there is a mirror.
    CDKTF_SKIP_PROVIDER_LOCK: 'true',
    ...(inputs.localImages.length === 0 ? {} : { MUSTER_LOCAL_IMAGES: inputs.localImages.join(',') }),
    ...(inputs.dockerHost === undefined ? {} : { DOCKER_HOST: inputs.dockerHost }),
    ...(inputs.terraformConfigFile === undefined ? {} : { TF_CLI_CONFIG_FILE: inputs.terraformConfigFile }),
  };
}

/** How long the operator's token of `hostVariables` counts: longer than any run of tests or drills. */
const hostTokenMs = 7 * 86_400_000;

/**
 * What a worker or a test on the host needs to reach a deployed environment by its published ports. MUSTER_API_TOKEN is an
 * operator's; where a site's keys count it must be in our own environment.
 */
export async function hostVariables(
  environment: Environment,
  secrets: Secrets,
): Promise<Record<string, string>> {
  const parts = (alias: string, port: string): [host: string, port: string] => {
    const [host = '', number = ''] = reachFromHost(environment, alias, port).split(':');
    return [host, number];
  };
  const has = (process: string) => environment.processes.list.some(({ name }) => name === process);
  const [mysqlHost, mysqlPort] = parts('mysql-entrance', 'sql');
  const [redisHost, redisPort] = parts('redis', 'redis');
  return {
    MUSTER_ENV: environment.name,
    KAFKA_BROKERS: brokersOutside(environment),
    MYSQL_HOST: mysqlHost,
    MYSQL_PORT: mysqlPort,
    MYSQL_USER: 'muster',
    MYSQL_PASSWORD: secrets.mysqlPassword,
    MYSQL_DATABASE: 'muster',
    REDIS_HOST: redisHost,
    REDIS_PORT: redisPort,
    REDIS_PASSWORD: secrets.redisPassword,
    OTLP_ENDPOINT: `http://${reachFromHost(environment, 'jaeger', 'otlpHttp')}`,
    TRACE_SAMPLE_RATIO: String(environment.traceSampleRatio),
    TIME_ZONE: environment.timeZone,
    PSEUDONYM_KEY: secrets.pseudonymKey,
    ...tokenVariables(environment, secrets),
    MUSTER_API_TOKEN: await operatorToken(environment, secrets),
    LOG_INBOX_DIRECTORY: join(stateDirectory(environment.name), 'log-inbox'),
    MUSTER_API_URL: urlFromHost(environment, 'api'),
    ...(has('pay') ? { MUSTER_PAY_URL: urlFromHost(environment, 'pay') } : {}),
    ...(has('delivery') ? { MUSTER_DELIVERY_URL: urlFromHost(environment, 'delivery') } : {}),
    ...(has('outside-world') ? { MUSTER_OUTSIDE_WORLD_URL: urlFromHost(environment, 'outside-world') } : {}),
    MUSTER_PROMETHEUS_URL: urlFromHost(environment, 'prometheus'),
    LOG_STORE_URL: urlFromHost(environment, 'victorialogs'),
    MUSTER_JAEGER_URL: urlFromHost(environment, 'jaeger'),
    ...(environment.tls === 'made' ? { NODE_EXTRA_CA_CERTS: authorityFile(secretsFile(environment)) } : {}),
  };
}

/** A token for what of ours calls the environment's API. Throws MUSTER_CONFIG_TOKEN where nobody has given us one. */
export async function apiToken(environment: Environment): Promise<string> {
  const token = await operatorToken(environment, (await ensureSecrets(secretsFile(environment))).secrets);
  if (token !== '') return token;
  throw new MusterError(
    'MUSTER_CONFIG_TOKEN',
    `The tokens of ${environment.name} are made by the site's identity provider: set MUSTER_API_TOKEN to one of an operator.`,
  );
}

/** A token of somebody whom a load plays. Throws MUSTER_CONFIG_TOKEN where the site's identity provider makes them. */
export async function personToken(environment: Environment, role: Role, subject: string): Promise<string> {
  if (environment.siteTokens !== undefined)
    throw new MusterError(
      'MUSTER_CONFIG_TOKEN',
      `The tokens of ${environment.name} are made by the site's identity provider: nobody can be played there.`,
    );
  const { secrets } = await ensureSecrets(secretsFile(environment));
  return signToken(secrets.tokenSigningKey, { role, subject, ttlMs: hostTokenMs });
}

async function operatorToken(environment: Environment, secrets: Secrets): Promise<string> {
  if (environment.siteTokens !== undefined) return process.env.MUSTER_API_TOKEN ?? '';
  const claims = { role: 'operator', subject: 'muster', ttlMs: hostTokenMs } as const;
  return signToken(secrets.tokenSigningKey, claims);
}
