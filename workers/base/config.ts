/**
 * Settings from the environment, checked once at boot. A schema (TypeBox) names each variable, its type and its
 * bounds; the reader converts strings strictly (never "12.5" to 12, never "" to 0) and reports every problem at once.
 */
import { type Static, type TLiteral, type TObject, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type EnvironmentName, environments } from '../../catalog/environments.ts';
import { MusterError } from './errors.ts';

const host = (description: string) => Type.String({ minLength: 1, maxLength: 253, description });
const port = (description: string, preset?: number) =>
  Type.Integer({
    minimum: 1,
    maximum: 65_535,
    description,
    ...(preset === undefined ? {} : { default: preset }),
  });

const environmentNames = Object.keys(environments) as EnvironmentName[];
const environmentLiterals = environmentNames.map((name) => Type.Literal(name)) as [TLiteral<EnvironmentName>];

/** What every worker process needs; a worker's own variables are in its `config`. */
export const platformSettings = Type.Object({
  MUSTER_ENV: Type.Union(environmentLiterals, { description: 'the environment' }),
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'service name in logs and traces',
  }),
  KAFKA_BROKERS: Type.String({
    pattern: '^[^\\s,:]+:\\d{1,5}(,[^\\s,:]+:\\d{1,5})*$',
    description: 'bootstrap brokers, host:port separated by commas',
  }),
  MYSQL_HOST: host('MySQL host'),
  MYSQL_PORT: port('MySQL port', 3306),
  MYSQL_USER: Type.String({ minLength: 1, description: 'MySQL user' }),
  MYSQL_PASSWORD: Type.String({ minLength: 1, description: 'MySQL password' }),
  MYSQL_DATABASE: Type.String({ minLength: 1, description: 'MySQL schema' }),
  REDIS_HOST: host('Redis host'),
  REDIS_PORT: port('Redis port', 6379),
  REDIS_PASSWORD: Type.Optional(Type.String({ minLength: 1, description: 'Redis password; unset: none' })),
  OTLP_ENDPOINT: Type.Optional(
    Type.String({ pattern: '^https?://[^\\s/]+', description: 'OTLP/HTTP base address; unset: no tracing' }),
  ),
  TRACE_SAMPLE_RATIO: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 1,
    description: 'share of root traces that are kept',
  }),
  MEMBER_DIRECTORY: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'directory of this process alone that survives its crash: notes its memberships in consumer groups, so that the next start need not wait for the dead to expire; unset: it waits',
    }),
  ),
  HTTP_HOST: Type.String({ minLength: 1, default: '127.0.0.1', description: 'address to listen on' }),
  HTTP_PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8080,
    description: 'port to listen on; 0: any free one',
  }),
  HTTP_ALLOWED_HOSTS: Type.String({
    default: '',
    pattern: '^([A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*)?$',
    description:
      'names, separated by commas, under which this server is reached and whose pages may call it, beside localhost and addresses',
  }),
  TOKEN_VERIFY_KEY: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9_-]{50,100}$',
      description: 'public key of the tokens that say who calls (Ed25519, SPKI in base64url)',
    }),
  ),
  TOKEN_JWKS_URL: Type.Optional(
    Type.String({
      pattern: '^https?://[^\\s]+$',
      description: "a site's keys of tokens (JWK set), instead of TOKEN_VERIFY_KEY",
    }),
  ),
  TOKEN_ISSUER: Type.String({
    minLength: 1,
    default: 'muster',
    description: 'with TOKEN_JWKS_URL: what tokens must have as "iss"',
  }),
  TOKEN_AUDIENCE: Type.String({
    minLength: 1,
    default: 'muster',
    description: 'with TOKEN_JWKS_URL: what tokens must have in "aud"',
  }),
  TIME_ZONE: Type.String({
    timeZone: true,
    default: 'Asia/Seoul',
    description: 'IANA zone of a time that carries none',
  }),
  PSEUDONYM_KEY: Type.String({
    pattern: '^[0-9a-fA-F]{64}$',
    secret: true,
    description: '64 hexadecimal digits (32 bytes)',
  }),
  LOG_LEVEL: Type.Union(
    [
      Type.Literal('error'),
      Type.Literal('warn'),
      Type.Literal('info'),
      Type.Literal('http'),
      Type.Literal('verbose'),
      Type.Literal('debug'),
    ],
    { default: 'info', description: 'lowest level that is written' },
  ),
  LOG_TOPIC: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,249}$',
      description: 'topic to which log lines go, too; unset: they go to stdout only',
    }),
  ),
  HTTP_BEHIND_GATEWAY: Type.Boolean({
    default: false,
    description: 'a gateway before it says in X-Forwarded-For whose request it is',
  }),
  DRAIN_DEADLINE_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 25_000,
    description: 'longest time a drain may take',
  }),
  DRAIN_NOTICE_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 0,
    description:
      'after a signal: so long it goes on as before while /readyz says that it is not ready, for a gateway to notice',
  }),
});
export type PlatformSettings = Static<typeof platformSettings>;

/** What a process needs whose workers use Kafka only: the cluster need not be ours, and no environment be named. */
export const kafkaOnlySettings = Type.Object({
  ...Type.Omit(platformSettings, [
    'MUSTER_ENV',
    'PROCESS_NAME',
    'MYSQL_HOST',
    'MYSQL_PORT',
    'MYSQL_USER',
    'MYSQL_PASSWORD',
    'MYSQL_DATABASE',
    'REDIS_HOST',
    'REDIS_PORT',
    'REDIS_PASSWORD',
    'PSEUDONYM_KEY',
  ]).properties,
  MUSTER_ENV: Type.String({ minLength: 1, default: 'none', description: 'the environment, for traces' }),
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    default: 'muster',
    description: 'service name in logs and traces',
  }),
});

/** Settings of a worker that asks others over HTTP: by which token (`catalog/services.ts`), and where. */
export const serviceToken = Type.String({
  pattern: '^[\\w.~+/-]+=*$',
  secret: true,
  description: 'token of role service by which this process asks others',
});
export const urlOf = (whom: string) =>
  Type.String({
    pattern: '^https?://[^\\s/]+(/[^\\s]*[^\\s/])?$',
    description: `base address of ${whom}, without a slash at the end`,
  });

/** The part of the platform's settings that a database job needs. */
export const databaseSettings = Type.Pick(platformSettings, [
  'MYSQL_HOST',
  'MYSQL_PORT',
  'MYSQL_USER',
  'MYSQL_PASSWORD',
  'MYSQL_DATABASE',
]);
export type DatabaseSettings = Static<typeof databaseSettings>;

export interface ConfigProblem {
  readonly variable: string;
  readonly problem: string;
  readonly expected: string;
}

/** Raised with every problem found; `lines` is what to print before exit 78. */
export class ConfigError extends MusterError {
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[]) {
    super('MUSTER_CONFIG', problems.map(problemLine).join('\n'));
    this.problems = problems;
  }
  get lines(): readonly string[] {
    return this.problems.map(problemLine);
  }
}

const problemLine = ({ variable, problem, expected }: ConfigProblem) =>
  `${variable}: ${problem}; expected ${expected}`;

type Loose = TSchema & {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Loose[];
  readonly default?: unknown;
  readonly description?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly secret?: boolean;
  readonly timeZone?: boolean;
  readonly regularExpression?: boolean;
};

/**
 * Converts text to what the schema wants: numbers, integers, booleans, literals. Text that does not read as exactly
 * that comes back unchanged, so that the check that follows refuses it.
 */
export function fromText(schema: TSchema, text: string): unknown {
  const loose = schema as Loose;
  if (loose.anyOf !== undefined) {
    for (const option of loose.anyOf) {
      const value = fromText(option, text);
      if (option.const === undefined ? typeof value !== 'string' : value === option.const) return value;
    }
    return text;
  }
  switch (loose.type) {
    case 'integer':
    case 'number':
      return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    default:
      return text;
  }
}

/**
 * Reads the variables of `schema` from `env`. An empty variable counts as unset. Throws ConfigError naming every
 * variable that is missing or wrong; the value of a secret is never part of a message.
 */
export function readSettings<Schema extends TObject>(
  schema: Schema,
  env: Readonly<Record<string, string | undefined>>,
): Static<Schema> {
  const problems: ConfigProblem[] = [];
  const required = new Set((schema as { required?: readonly string[] }).required ?? []);
  const settings: Record<string, unknown> = {};
  for (const [variable, property] of Object.entries(schema.properties) as [string, Loose][]) {
    const text = env[variable];
    if (text === undefined || text === '') {
      if (property.default !== undefined) settings[variable] = property.default;
      else if (required.has(variable))
        problems.push({ variable, problem: 'is not set', expected: expectation(property) });
      continue;
    }
    const value = fromText(property, text);
    const good =
      Compile(property).Check(value) &&
      (property.timeZone !== true || isTimeZone(value as string)) &&
      (property.regularExpression !== true || isRegularExpression(value as string));
    if (good) settings[variable] = value;
    else
      problems.push({
        variable,
        problem: isSecret(variable, property) ? 'is not valid' : `is not valid (${abbreviated(text)})`,
        expected: expectation(property),
      });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return settings as Static<Schema>;
}

/** Reads several groups of settings and reports the problems of all of them together, each variable once. */
export function readAllSettings(
  schemas: readonly TObject[],
  env: Readonly<Record<string, string | undefined>>,
): readonly Record<string, unknown>[] {
  const problems = new Map<string, ConfigProblem>();
  const all = schemas.map((schema) => {
    try {
      return readSettings(schema, env) as Record<string, unknown>;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const problem of error.problems) problems.set(problem.variable, problem);
      return {};
    }
  });
  if (problems.size > 0) throw new ConfigError([...problems.values()]);
  return all;
}

function isSecret(variable: string, schema: Loose): boolean {
  return schema.secret === true || /PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL/.test(variable);
}

function abbreviated(text: string): string {
  // A password may sit inside an address (scheme://user:password@host).
  const plain = text.replace(/\/\/[^/@\s]*@/g, '//***@');
  return JSON.stringify(plain.length > 60 ? `${plain.slice(0, 57)}...` : plain);
}

function expectation(schema: Loose): string {
  const kind = kindOf(schema);
  return schema.description === undefined ? kind : `${kind} (${schema.description})`;
}

function kindOf(schema: Loose): string {
  if (schema.anyOf !== undefined) {
    const literals = schema.anyOf.map((option) => option.const);
    if (literals.every((literal) => literal !== undefined)) return `one of ${literals.join(', ')}`;
    return schema.anyOf.map(kindOf).join(' or ');
  }
  if (schema.const !== undefined) return String(schema.const);
  const article = schema.type === 'integer' ? 'an integer' : `a ${schema.type ?? 'value'}`;
  if (schema.type === 'integer' || schema.type === 'number') {
    const { minimum, maximum } = schema;
    if (minimum !== undefined && maximum !== undefined) return `${article} from ${minimum} to ${maximum}`;
    if (minimum !== undefined) return `${article} of at least ${minimum}`;
    if (maximum !== undefined) return `${article} of at most ${maximum}`;
    return article;
  }
  if (schema.type === 'boolean') return 'true or false';
  if (schema.timeZone === true) return 'the name of a time zone';
  if (schema.regularExpression === true) return 'a regular expression';
  if (schema.pattern !== undefined) return `text matching ${schema.pattern}`;
  return 'text';
}

function isRegularExpression(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
