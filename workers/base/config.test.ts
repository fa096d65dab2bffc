import test from 'ava';
import { Type } from 'typebox';
import { environments } from '../../catalog/environments.ts';
import {
  ConfigError,
  fromText,
  kafkaOnlySettings,
  platformSettings,
  readAllSettings,
  readSettings,
} from './config.ts';

const good = {
  MUSTER_ENV: 'dev',
  PROCESS_NAME: 'api',
  KAFKA_BROKERS: 'kafka-1:9092,kafka-2:9092',
  MYSQL_HOST: 'mysql',
  MYSQL_USER: 'muster',
  MYSQL_PASSWORD: 'hush',
  MYSQL_DATABASE: 'muster',
  REDIS_HOST: 'redis',
  PSEUDONYM_KEY: 'ab'.repeat(32),
};

function problemsOf(env: Record<string, string | undefined>): readonly string[] {
  try {
    readSettings(platformSettings, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
}

test('text becomes typed values and defaults fill what is not set', (t) => {
  const settings = readSettings(platformSettings, {
    ...good,
    MYSQL_PORT: '3307',
    TRACE_SAMPLE_RATIO: '0.25',
    HTTP_PORT: '',
  });
  t.is(settings.MYSQL_PORT, 3307);
  t.is(settings.TRACE_SAMPLE_RATIO, 0.25);
  t.is(settings.HTTP_PORT, 8080);
  t.is(settings.LOG_LEVEL, 'info');
  t.is(settings.TIME_ZONE, 'Asia/Seoul');
  t.is(settings.OTLP_ENDPOINT, undefined);
});

test('a process may be of each environment of the catalog, and of no other', (t) => {
  for (const name of Object.keys(environments)) t.deepEqual(problemsOf({ ...good, MUSTER_ENV: name }), []);
  t.is(problemsOf({ ...good, MUSTER_ENV: 'moon' }).length, 1);
});

test('every problem is reported at once, a line each, with what is expected', (t) => {
  t.deepEqual(
    problemsOf({
      ...good,
      MUSTER_ENV: 'test',
      KAFKA_BROKERS: 'kafka-1',
      MYSQL_HOST: undefined,
      HTTP_PORT: '70000',
      TIME_ZONE: 'Mars/Olympus',
    }),
    [
      'MUSTER_ENV: is not valid ("test"); expected one of dev, ci, prod (the environment)',
      'KAFKA_BROKERS: is not valid ("kafka-1"); expected text matching ^[^\\s,:]+:\\d{1,5}(,[^\\s,:]+:\\d{1,5})*$ (bootstrap brokers, host:port separated by commas)',
      'MYSQL_HOST: is not set; expected text (MySQL host)',
      'HTTP_PORT: is not valid ("70000"); expected an integer from 0 to 65535 (port to listen on; 0: any free one)',
      'TIME_ZONE: is not valid ("Mars/Olympus"); expected the name of a time zone (IANA zone of a time that carries none)',
    ],
  );
});

test('the value of a secret is never part of a message', (t) => {
  const [line] = problemsOf({ ...good, PSEUDONYM_KEY: 'nearly-a-key' });
  t.is(
    line,
    'PSEUDONYM_KEY: is not valid; expected text matching ^[0-9a-fA-F]{64}$ (64 hexadecimal digits (32 bytes))',
  );
  const [address] = problemsOf({ ...good, OTLP_ENDPOINT: 'ftp://someone:geheim@host' });
  t.false(address!.includes('geheim'));
});

test('text that only resembles a number is refused, not bent', (t) => {
  for (const text of ['12.5', '1e3', '0x10', ' 8', '+8', '08', '9'.repeat(400), 'NaN'])
    t.is(problemsOf({ ...good, MYSQL_PORT: text }).length, 1, text);
});

test('unions of literals and numbers read as the matching member', (t) => {
  const either = Type.Union([Type.Literal('auto'), Type.Integer()]);
  t.is(fromText(either, 'auto'), 'auto');
  t.is(fromText(either, '4'), 4);
  t.is(fromText(Type.Boolean(), 'true'), true);
  t.is(fromText(Type.Boolean(), 'yes'), 'yes');
});

test('problems of the platform and of several workers come together, each variable once', (t) => {
  const one = Type.Object({ TRAFFIC_RATE: Type.Integer({ minimum: 1 }) });
  const error = t.throws(() => readAllSettings([platformSettings, one, one], { ...good, MYSQL_USER: '' }), {
    instanceOf: ConfigError,
  })!;
  t.deepEqual(
    error.problems.map((problem) => problem.variable),
    ['MYSQL_USER', 'TRAFFIC_RATE'],
  );
});

test('a process whose workers use Kafka only needs the brokers and nothing else', (t) => {
  const settings = readSettings(kafkaOnlySettings, { KAFKA_BROKERS: 'somebody-elses:9092' });
  t.is(settings.KAFKA_BROKERS, 'somebody-elses:9092');
  t.is(settings.HTTP_PORT, 8080);
  t.is(settings.OTLP_ENDPOINT, undefined);
  t.throws(() => readSettings(kafkaOnlySettings, {}), { message: /^KAFKA_BROKERS: is not set[^\n]*$/ });
});

test('a regular expression that is none is refused at boot', (t) => {
  const schema = Type.Object({ LAG_TOPICS: Type.String({ regularExpression: true, default: '.*' }) });
  t.deepEqual(readSettings(schema, { LAG_TOPICS: '^orders-\\d+$' }), { LAG_TOPICS: '^orders-\\d+$' });
  t.throws(() => readSettings(schema, { LAG_TOPICS: 'orders(' }), {
    message: /LAG_TOPICS.*a regular expression/,
  });
});
