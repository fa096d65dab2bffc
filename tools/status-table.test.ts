import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { age } from '../drawing/table.ts';
import type { Container } from '../environment/docker.ts';
import { containerOf, parseSize } from '../environment/docker.ts';
import { placements } from '../stacks/config/index.ts';
import {
  backupLine,
  backupProblems,
  clusterProblems,
  guardLine,
  guardProblems,
  partsOf,
  renderCluster,
  renderParts,
} from './status-table.ts';

const nowMs = Date.UTC(2026, 10, 21, 4, 30);
const container = (alias: string, over: Partial<Container> = {}): Container => ({
  dockerUri: undefined,
  id: `id-${alias}`,
  name: `muster-dev-${alias}`,
  component: alias.replace(/-\d$/, ''),
  node: '1',
  image: 'muster/x:1',
  state: 'running',
  health: 'healthy',
  exitCode: 0,
  restarts: 0,
  startedAtMs: nowMs - 90_000,
  memoryLimitBytes: 256 * 1024 ** 2,
  publishedPorts: [],
  oomKilled: false,
  oneShot: false,
  ...over,
});
const leftOut = new Set(['cmak', 'grafana']);
const all = placements(environments.dev)
  .filter(({ component }) => !leftOut.has(component))
  .map(({ alias }) => container(alias));
const facts = {
  memory: new Map([['id-api', 100 * 1024 ** 2]]),
  nowMs,
  leftOut,
  ready: new Map<string, boolean>(),
};
const replaced = (alias: string, over: Partial<Container>) =>
  all.map((one) => (one.name === `muster-dev-${alias}` ? { ...one, ...over } : one));

test('every part is shown with state, health, age, memory and address, and is ok when it is', (t) => {
  const parts = partsOf(environments.dev, all, facts);
  t.true(parts.every(({ ok }) => ok));
  t.is(parts.length, all.length);
  const text = renderParts(parts, false);
  t.regex(text, /● +api +running +healthy +1 min +100 +256/);
  t.regex(text, /● +gateway .*http:\/\/127\.0\.0\.1:19080 /);
  t.regex(text, /kafka-1 .*127\.0\.0\.1:19091/);
  t.regex(
    text,
    /● +jaeger .*http:\/\/127\.0\.0\.1:19016 +127\.0\.0\.1:19018$/m,
    'by the gateway before it, and its own',
  );
  t.notRegex(text, /● +pages .*19016/, 'once');
});

test('where parts are on several hosts, and only there, the table says on which', (t) => {
  const parts = partsOf(environments.dev, all, facts);
  t.regex(renderParts(parts, false), /component +state/);
  const spread = parts.map((part, index) => ({ ...part, node: `host-${index % 2}` }));
  t.regex(renderParts(spread, false), /component +host +state/);
  t.regex(renderParts(spread, false), /kafka-1 +host-[01] +running/);
});

test('a missing part, an unhealthy one, a stopped one and a worker that is not ready are problems', (t) => {
  const without = all.filter(({ name }) => name !== 'muster-dev-redis');
  const problemsOf = (containers: readonly Container[], ready = new Map<string, boolean>()) =>
    partsOf(environments.dev, containers, { ...facts, ready }).flatMap(({ problem }) => problem ?? []);
  t.deepEqual(problemsOf(without), ['redis is missing']);
  t.regex(
    problemsOf(replaced('mysql-1', { health: 'unhealthy' }))[0]!,
    /^mysql-1 is unhealthy: \.\/muster logs mysql-1/,
  );
  t.regex(
    problemsOf(replaced('kafka-2', { state: 'exited', exitCode: 137, oomKilled: true }))[0]!,
    /kafka-2 is exited \(exit code 137, killed for want of memory\)/,
  );
  t.regex(problemsOf(all, new Map([['promotion', false]]))[0]!, /promotion is not ready/);
});

test('a job that ended well is not shown, one that failed is a problem', (t) => {
  const job = container('topics', { oneShot: true, state: 'exited', exitCode: 0, health: undefined });
  t.is(partsOf(environments.dev, [...all, job], facts).length, all.length);
  const failed = partsOf(environments.dev, [...all, { ...job, exitCode: 1 }], facts).at(-1)!;
  t.regex(failed.problem!, /job topics ended with exit code 1/);
});

test('what is wrong with the cluster is said, and nothing when nothing is', (t) => {
  const well = {
    brokers: [1, 2, 3],
    expectedBrokers: 3,
    controller: 2,
    topics: 8,
    missingTopics: [],
    partitions: 38,
    underReplicated: 0,
    offline: 0,
  };
  t.deepEqual(clusterProblems(well), []);
  t.is(clusterProblems({ ...well, brokers: [1, 3], underReplicated: 12 }).length, 2);
  t.is(
    clusterProblems({ ...well, controller: undefined, offline: 1, missingTopics: ['promotion'] }).length,
    3,
  );
  const text = renderCluster(
    well,
    { group: 'promotion-join', records: 3 },
    new Map([['purchase', 9.96]]),
    false,
  );
  t.regex(text, /brokers alive +3 of 3/);
  t.regex(text, /lag +promotion-join 3 records/);
  t.regex(text, /messages\/s +purchase 10\.0/);
});

test('ages are read at a glance', (t) => {
  const minute = 60_000;
  t.deepEqual([5_000, 12 * minute, 303 * minute, 52 * 60 * minute].map(age), [
    '5 s',
    '12 min',
    '5 h 03 min',
    '2 d 4 h',
  ]);
});

test('docker’s sizes are understood', (t) => {
  t.deepEqual(
    ['12.5MiB', '1GiB', '340kB', '0B', '--'].map(parseSize),
    [13_107_200, 1_073_741_824, 340_000, 0, 0],
  );
});

test('what docker inspect says becomes what we show', (t) => {
  const shown = containerOf({
    Id: 'abc',
    Name: '/muster-dev-kafka-1',
    State: {
      Status: 'running',
      ExitCode: 0,
      OOMKilled: false,
      StartedAt: '2026-11-21T04:00:00Z',
      Health: { Status: 'healthy' },
    },
    RestartCount: 2,
    Config: { Image: 'muster/kafka:1', Labels: { 'muster.component': 'kafka', 'muster.node': '1' } },
    HostConfig: {
      Memory: 1024,
      RestartPolicy: { Name: 'unless-stopped' },
      PortBindings: { '9094/tcp': [{ HostPort: '19091' }], '7071/tcp': null },
    },
  });
  t.is(shown.name, 'muster-dev-kafka-1');
  t.is(shown.health, 'healthy');
  t.deepEqual(shown.publishedPorts, [19_091]);
  t.false(shown.oneShot);
});

test('the backup: what is at risk, and how old it is; a log that is not kept is a problem', (t) => {
  const hourAgo = nowMs / 1_000 - 3_600;
  const well = { atRiskSeconds: 1.2, baseSeconds: hourAgo, verifiedSeconds: hourAgo };
  t.is(backupLine(well, nowMs), '1 s at risk · base copy 1 h 00 min ago · tried 1 h 00 min ago');
  t.deepEqual(backupProblems(well), []);
  const none = { atRiskSeconds: Number.POSITIVE_INFINITY, baseSeconds: 0, verifiedSeconds: 0 };
  t.is(backupLine(none, nowMs), 'everything at risk · base copy none yet · tried not yet');
  t.is(backupProblems(none).length, 1);
  t.is(backupProblems({ ...well, atRiskSeconds: 61 }).length, 1);
  t.regex(backupProblems(new Error('mysql-backup does not run'))[0]!, /not known: mysql-backup does not run/);
});

test('the members of MySQL: who writes, whether the other one has it, and since when not', (t) => {
  const up = [
    { name: 'mysql-1', up: true },
    { name: 'mysql-2', up: true },
  ];
  const well = { writer: 'mysql-2', members: up, atRiskSeconds: 0 };
  t.is(guardLine(well), 'mysql-2 takes writes · mysql-1 has everything');
  t.deepEqual(guardProblems(well), []);
  const one = { ...well, members: [{ name: 'mysql-1', up: false }, up[1]!], atRiskSeconds: 65 };
  t.is(guardLine(one), 'mysql-2 takes writes · mysql-1 does not answer since 1 min');
  t.regex(guardProblems(one)[0]!, /on one member only/);
  const none = { ...well, writer: undefined };
  t.is(guardLine(none), 'nobody takes writes');
  t.regex(guardProblems(none)[0]!, /no member of MySQL takes writes/);
  t.regex(guardProblems(new Error('mysql-guard does not run'))[0]!, /not known: mysql-guard does not run/);
});
