/**
 * Who is told of what: the rendered configuration in a real Alertmanager of its own, a real webhook receiver behind it,
 * and alerts with exactly the labels that promtool has proven. Alerts of different environments never touch each
 * other, so each test has one of its own.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import anyTest, { type TestFn } from 'ava';
import { execa } from 'execa';
import { parse } from 'yaml';
import { renderRuleTests } from '../alerts/index.ts';
import { environments } from '../catalog/environments.ts';
import { renderAlertmanager } from '../stacks/config/observability.ts';
import { eventually, uniqueName } from '../workers/kafka/testing.ts';

type Labels = Readonly<Record<string, string>>;

interface Heard {
  readonly receiver: string;
  readonly status: string;
  readonly labels: Labels;
}

const { ci } = environments;
const patienceMs = 60_000;
const name = uniqueName('muster-alertmanager');

/** Labels of every alert that a proof expects to fire, by alert name. */
const proven = new Map<string, readonly Labels[]>();
for (const text of renderRuleTests(ci).values())
  for (const { promql_expr_test } of parse(text).tests)
    for (const { exp_samples } of promql_expr_test)
      for (const { labels: written } of exp_samples) {
        const { alertstate: _, ...labels } = Object.fromEntries(
          [...(written as string).matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label!, value!]),
        );
        proven.set(labels.alertname!, [...(proven.get(labels.alertname!) ?? []), labels]);
      }

/** The first proven alert of this name; with labels, the first that has them. */
function proof(alertname: string, having: Labels = {}): Labels {
  const found = proven
    .get(alertname)
    ?.find((labels) => Object.entries(having).every(([label, value]) => labels[label] === value));
  if (found === undefined) throw new Error(`no proof lets ${alertname} fire with ${JSON.stringify(having)}`);
  return found;
}

/** An Alertmanager on the host's network and a receiver that it tells, both on loopback. */
async function startAlerting() {
  const heard: Heard[] = [];
  const receiver = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { alerts } = JSON.parse(Buffer.concat(parts).toString()) as {
        alerts: readonly { readonly status: string; readonly labels: Labels }[];
      };
      for (const { status, labels } of alerts)
        heard.push({ receiver: request.url!.slice(1), status, labels });
      response.end();
    });
  }).listen(0, '127.0.0.1');
  const free = createServer().listen(0, '127.0.0.1');
  await Promise.all([once(receiver, 'listening'), once(free, 'listening')]);
  const { port: receiverPort } = receiver.address() as AddressInfo;
  const { port } = free.address() as AddressInfo;
  free.close();

  const config = renderAlertmanager({
    ...ci,
    alertmanager: { ...ci.alertmanager, receiver: { url: `http://127.0.0.1:${receiverPort}` } },
  });
  const running = `${ci.prefix}-alertmanager`;
  const { stdout: image } = await execa('docker', ['inspect', running, '--format', '{{.Config.Image}}']);
  const start =
    'printf %s "$CONFIG" > /tmp/alertmanager.yml && exec /bin/alertmanager --config.file=/tmp/alertmanager.yml' +
    ` --storage.path=/tmp/alertmanager --web.listen-address=127.0.0.1:${port} --cluster.listen-address=`;
  await execa('docker', [
    ...['run', '--detach', '--name', name, '--network', 'host', '--env', `CONFIG=${config}`],
    ...['--entrypoint', 'sh', image, '-c', start],
  ]);
  const api = `http://127.0.0.1:${port}`;
  await eventually(
    'Alertmanager is ready',
    async () => (await fetch(`${api}/-/ready`).catch(() => undefined))?.ok === true,
    patienceMs,
  );
  return {
    close() {
      receiver.closeAllConnections();
      receiver.close();
    },
    /** What a receiver heard of an environment: names, sorted. */
    heard(environment: string, by: string, status = 'firing'): readonly string[] {
      return heard
        .filter((each) => each.receiver === by && each.status === status)
        .filter(({ labels }) => labels.environment === environment)
        .map(({ labels }) => [labels.alertname, labels.job].filter((part) => part !== undefined).join(' '))
        .sort();
    },
    async fire(environment: string, alerts: readonly Labels[], endsAt?: Date) {
      const response = await fetch(`${api}/api/v2/alerts`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(alerts.map((labels) => ({ labels: { ...labels, environment }, endsAt }))),
      });
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    },
    /** Names of the alerts of an environment that others keep back, sorted. */
    async keptBack(environment: string): Promise<readonly string[]> {
      const filter = encodeURIComponent(`environment="${environment}"`);
      const response = await fetch(`${api}/api/v2/alerts?filter=${filter}`);
      const all = (await response.json()) as readonly {
        readonly labels: Labels;
        readonly status: { readonly inhibitedBy: readonly string[] };
      }[];
      return all
        .filter(({ status }) => status.inhibitedBy.length > 0)
        .map(({ labels }) => labels.alertname!)
        .sort();
    },
  };
}

const test = anyTest as TestFn<Awaited<ReturnType<typeof startAlerting>>>;
let alerting: Awaited<ReturnType<typeof startAlerting>> | undefined;

test.before(async (t) => {
  t.timeout(2 * patienceMs);
  alerting = await startAlerting();
});
test.beforeEach((t) => {
  t.timeout(4 * patienceMs);
  t.context = alerting!;
});
test.after.always(async () => {
  alerting?.close();
  await execa('docker', ['rm', '--force', '--volumes', name], { reject: false });
});

test('each severity goes its way: page, ticket, the dead man’s switch, and nobody', async (t) => {
  const amtool = async (...args: readonly string[]) =>
    (await execa('docker', ['exec', name, 'amtool', ...args])).stdout.trim();
  const file = '/tmp/alertmanager.yml';
  t.regex(await amtool('check-config', file), /SUCCESS/);
  const route = (labels: Labels) =>
    amtool(
      ...['config', 'routes', 'test', `--config.file=${file}`],
      ...Object.entries(labels).map(([label, value]) => `${label}=${value}`),
    );
  t.is(await route(proof('BrokersMissing')), 'page');
  t.is(await route(proof('DeadLetters')), 'ticket');
  t.is(await route(proof('Watchdog')), 'deadman');
  t.is(await route(proof('BrokersRecentlyMissing')), 'nobody');
  t.is(await route({ alertname: 'SomebodyElses' }), 'ticket', 'an alert without a severity is not lost');
});

test('a dead broker pages exactly once; what has nothing to do with it still arrives', async (t) => {
  const { fire, heard, keptBack } = t.context;
  const here = 'a-dead-broker';
  const explained = [
    proof('UnderReplicated'),
    proof('TargetDown', { job: 'kafka' }),
    proof('IsrChurn'),
    proof('PreferredReplicaImbalance'),
    proof('FailedProduce'),
    proof('SloBurn1h'),
    proof('SloBurn6h'),
    proof('LagSecondsHigh'),
    proof('ZooKeeperSessionExpiries'),
  ];
  const others = [proof('Watchdog'), proof('TargetDown', { job: 'jaeger' }), proof('JaegerDropsSpans')];
  await fire(here, [...explained, ...others, proof('BrokersRecentlyMissing'), proof('BrokersMissing')]);
  // Tickets of one moment leave together: when this one has arrived, the others would have.
  await eventually(
    'the unrelated tickets and the dead man’s switch arrive',
    () => heard(here, 'ticket').length >= 2 && heard(here, 'deadman').length > 0,
    patienceMs,
  );
  t.deepEqual(heard(here, 'page'), ['BrokersMissing']);
  t.deepEqual(heard(here, 'ticket'), ['JaegerDropsSpans', 'TargetDown jaeger']);
  t.deepEqual(await keptBack(here), explained.map(({ alertname }) => alertname!).sort());
});

test('a second, worse fault pages while a broker is missing', async (t) => {
  const { fire, heard } = t.context;
  const here = 'a-second-fault';
  await fire(here, [proof('BrokersMissing')]);
  await fire(here, [
    proof('UnderMinIsr'),
    proof('OfflinePartitions'),
    proof('RpoAtRisk'),
    proof('RtoExceeded'),
  ]);
  const pages = ['BrokersMissing', 'OfflinePartitions', 'RpoAtRisk', 'RtoExceeded', 'UnderMinIsr'];
  await eventually('all of them page', () => String(heard(here, 'page')) === String(pages), patienceMs);
  t.pass();
});

test('when all brokers are gone only that is paged, and another environment is not touched', async (t) => {
  const { fire, heard, keptBack } = t.context;
  const here = 'all-brokers-gone';
  await fire(
    here,
    [...proven.keys()].map((alertname) => proof(alertname)),
  );
  await fire('elsewhere', [proof('MysqlDown')]);
  await eventually(
    'everything else is kept back',
    async () => (await keptBack(here)).length === proven.size - 2,
    patienceMs,
  );
  await eventually(
    'both pages arrive',
    () => heard(here, 'page').includes('AllBrokersGone') && heard('elsewhere', 'page').length > 0,
    patienceMs,
  );
  t.deepEqual(heard(here, 'page'), ['AllBrokersGone']);
  t.deepEqual(heard('elsewhere', 'page'), ['MysqlDown']);
});

test('the receiver hears of the end too', async (t) => {
  const { fire, heard } = t.context;
  const here = 'an-end';
  await fire(here, [proof('OfflinePartitions')]);
  await eventually('it is paged', () => heard(here, 'page').length > 0, patienceMs);
  await fire(here, [proof('OfflinePartitions')], new Date());
  await eventually('its end is heard', () => heard(here, 'page', 'resolved').length > 0, patienceMs);
  t.pass();
});
