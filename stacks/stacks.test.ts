// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Terraform's own interpolation is what is looked at
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { App } from 'cdktf';
import { type Environment, environments } from '../catalog/environments.ts';
import { groups } from '../catalog/groups.ts';
import { allTopics } from '../catalog/topics.ts';
import { gatewayOf, renderGateway } from './config/gateway.ts';
import { hexKeys, type SecretName, secretsToShow, serviceTokenOf } from './config/secrets.ts';
import { placementOf, serviceUrls, urlFromHost } from './config/topology.ts';
import { contentHash, decimalCpus, goDuration, literal } from './constructs/container.ts';
import { createStacks } from './environment.ts';
import { type ImageName, imageRef } from './images.ts';
import { readSettings, type Settings } from './settings.ts';

const run = promisify(execFile);

interface DockerContainer {
  name: string;
  image: string;
  env: string[];
  labels: { label: string; value: string }[];
  memory: number;
  memory_swap: number;
  cpu_shares?: number;
  cpus?: string;
  log_driver: string;
  log_opts: Record<string, string>;
  ulimit: unknown[];
  destroy_grace_seconds: number;
  must_run: boolean;
  restart: string;
  attach?: boolean;
  logs?: boolean;
  wait?: boolean;
  wait_timeout?: number;
  healthcheck?: { test: string[]; interval: string };
  ports?: { internal: number; external: number; ip: string }[];
  networks_advanced: { name: string; aliases: string[] }[];
  upload?: { file: string; content: string }[];
  volumes?: { volume_name?: string; container_path: string; host_path?: string }[];
  provider: string;
  command?: string[];
  depends_on?: string[];
  lifecycle?: {
    postcondition?: { condition: string; error_message: string }[];
    ignore_changes?: string[];
    prevent_destroy?: boolean;
  };
}

interface StackJson {
  terraform: {
    backend: { local: { path: string }; pg: { conn_str: string; schema_name: string } };
    required_providers: { docker: { version: string } };
  };
  provider: { docker: { alias: string; host?: string }[] };
  resource: Record<string, Record<string, unknown>> & { docker_container: Record<string, DockerContainer> };
}

function settingsOf(
  environment: Environment,
  source: 'registry' | 'build' = 'registry',
): Settings<ImageName> {
  return {
    environment,
    secrets: secretsToShow,
    ...(environment.tls === undefined ? {} : { certificate: 'certificate and key' }),
    stateDirectory: `/var/lib/muster-test/${environment.name}`,
    image: (name) => imageRef(name, source),
    dashboards: [{ name: 'overview.json', text: '{"title":"${not_terraform}"}' }],
    rules: [{ name: 'watchdog.yml', text: 'groups: []' }],
    mayReplace: () => true,
  };
}

async function synthesise(settings: Settings<ImageName>, outdir?: string): Promise<Map<string, StackJson>> {
  const folder = outdir ?? (await mkdtemp(join(tmpdir(), 'muster-stacks-')));
  const app = new App({ outdir: folder, stackTraces: false });
  const stacks = createStacks(app, settings);
  app.synth();
  const read = await Promise.all(
    Object.values(stacks).map(
      async ({ node }) =>
        [
          node.id,
          JSON.parse(await readFile(join(folder, 'stacks', node.id, 'cdk.tf.json'), 'utf8')) as StackJson,
        ] as const,
    ),
  );
  if (outdir === undefined) await rm(folder, { recursive: true });
  return new Map(read);
}

const containersOf = (stacks: Map<string, StackJson>) =>
  [...stacks.values()].flatMap((stack) => Object.values(stack.resource.docker_container));
const isJob = (container: DockerContainer) => container.restart === 'no';
const named = (stacks: Map<string, StackJson>, name: string) =>
  containersOf(stacks).find((container) => container.name === name)!;

const variables = (stacks: Map<string, StackJson>, name: string) =>
  Object.fromEntries(named(stacks, name).env.map((line) => line.split(/=(.*)/s).slice(0, 2)));

const { dev, ci, prod } = environments;

test('every container has limits, a stop grace, log rotation, ulimits and labels', async (t) => {
  for (const environment of [dev, ci, prod]) {
    for (const container of containersOf(await synthesise(settingsOf(environment)))) {
      t.true(container.memory > 0, container.name);
      t.is(container.memory_swap, container.memory, container.name);
      // Nobody is answered while the gateway ends, and streams do not end by themselves.
      const atLeast = container.name === `${environment.prefix}-gateway` ? 2 : 5;
      t.true(container.destroy_grace_seconds >= atLeast, container.name);
      t.is(container.log_driver, 'json-file');
      t.deepEqual(Object.keys(container.log_opts).sort(), ['max-file', 'max-size']);
      t.like(container.ulimit, [{ name: 'nofile' }]);
      const labels = Object.fromEntries(container.labels.map(({ label, value }) => [label, value]));
      t.is(labels['muster.environment'], environment.name);
      t.truthy(labels['muster.component']);
      t.truthy(labels['muster.node']);
      t.deepEqual(
        container.networks_advanced.map(({ name }) => name),
        [environment.prefix],
      );
    }
  }
});

test('brokers and ZooKeepers, for which all others wait, and who decides by who is late come first where processors are short', async (t) => {
  for (const environment of [dev, ci, prod])
    for (const { name, cpu_shares: shares } of containersOf(await synthesise(settingsOf(environment))))
      t.is(shares, /-(kafka|zookeeper)-\d+$|-mysql-guard$/.test(name) ? 32_768 : undefined, name);
});

test('by hand terraform takes no broker, no ZooKeeper and no volume away, but those that are named; the rest may go', async (t) => {
  const held = async (mayReplace: (alias: string) => boolean) =>
    [...(await synthesise({ ...settingsOf(dev), mayReplace })).values()]
      .flatMap(({ resource }) => Object.values(resource).flatMap((all) => Object.values(all)))
      .map((one) => one as Pick<DockerContainer, 'name' | 'lifecycle'>)
      .filter(({ lifecycle }) => lifecycle?.prevent_destroy === true)
      .map(({ name }) => name.replace('muster-dev-', ''));
  const all = await held(() => false);
  for (const name of [
    'kafka-1',
    'kafka-2',
    'kafka-3',
    'zookeeper-1',
    'zookeeper-2',
    'zookeeper-3',
    'mysql-data',
  ])
    t.true(all.includes(name), name);
  t.true(
    all.every((name) => /^(kafka|zookeeper)-\d$|-(data|log|state|settings)$/.test(name)),
    all.join(),
  );
  t.deepEqual(
    await held((alias) => alias === 'kafka-2'),
    all.filter((alias) => alias !== 'kafka-2'),
  );
  t.deepEqual(await held(() => true), []);
});

test('dev and ci listen on loopback only', async (t) => {
  for (const environment of [dev, ci])
    for (const container of containersOf(await synthesise(settingsOf(environment))))
      for (const port of container.ports ?? []) t.is(port.ip, '127.0.0.1', container.name);
});

test('prod publishes on the hosts’ own addresses, each broker on its own host', async (t) => {
  const stacks = await synthesise(settingsOf(prod));
  const broker = named(stacks, 'muster-prod-kafka-2');
  t.is(broker.provider, 'docker.kafka-2');
  t.deepEqual(
    broker.ports?.map(({ internal, external, ip }) => `${ip}:${external}>${internal}`),
    ['10.20.0.12:7071>7071', '10.20.0.12:9091>9092', '10.20.0.12:9092>9094'],
  );
  const member = named(stacks, 'muster-prod-zookeeper-1');
  t.deepEqual(
    member.ports?.map(({ internal }) => internal),
    [2181, 2888, 3888, 7000],
  );
  const hosts = new Set(
    [...stacks.values()].flatMap(({ provider }) => provider.docker.map(({ host }) => host)),
  );
  t.is(hosts.size, 11);
});

test('prod has the sizes of the service contract', async (t) => {
  const stacks = await synthesise(settingsOf(prod));
  for (const id of [1, 2, 3]) {
    const broker = named(stacks, `muster-prod-kafka-${id}`);
    t.is(broker.memory, 8192);
    t.is(broker.cpus, '4.0', 'as the provider reads it back');
    t.is(named(stacks, `muster-prod-zookeeper-${id}`).cpus, '2.0');
  }
  const perHost = new Map<string, number>();
  for (const container of containersOf(stacks))
    if (!isJob(container))
      perHost.set(container.provider, (perHost.get(container.provider) ?? 0) + container.memory);
  for (const id of [1, 2, 3]) {
    t.true(perHost.get(`docker.kafka-${id}`)! <= 8192);
    t.true(perHost.get(`docker.zookeeper-${id}`)! <= 4096, `zookeeper-${id}`);
  }
  t.true(perHost.get('docker.services')! <= 2048);
});

test('published ports are sorted by the port inside, as the provider reads them back', async (t) => {
  for (const container of containersOf(await synthesise(settingsOf(prod)))) {
    const inside = (container.ports ?? []).map(({ internal }) => internal);
    t.deepEqual(
      inside,
      [...inside].sort((a, b) => a - b),
    );
  }
});

test('a stopped container is started again, and one whose ports changed is replaced', async (t) => {
  const label = (container: DockerContainer) =>
    container.labels.find(({ label: name }) => name === 'muster.ports')!.value;
  const before = named(await synthesise(settingsOf(dev)), 'muster-dev-redis');
  t.true(before.must_run);
  // Stopped, it reads back without ports: that must not look like a change.
  t.deepEqual(before.lifecycle?.ignore_changes, ['ports']);
  const moved: Environment = { ...dev, redis: { ...dev.redis, publishedPort: 19_999 } };
  t.not(label(before), label(named(await synthesise(settingsOf(moved)), 'muster-dev-redis')));
});

test('a container waits only for a health it has, with time to come up', async (t) => {
  for (const container of containersOf(await synthesise(settingsOf(dev)))) {
    if (container.wait !== true) continue;
    t.truthy(container.healthcheck, container.name);
    t.true(container.wait_timeout! >= 60, container.name);
    t.true(container.labels.some(({ label }) => label === 'muster.healthcheck'));
    t.is(container.healthcheck!.test[0], 'CMD');
  }
});

test('the first ZooKeeper waits for nobody, the others for their quorum, the brokers for all of them', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  t.falsy(named(stacks, 'muster-dev-zookeeper-1').wait);
  t.true(named(stacks, 'muster-dev-zookeeper-2').wait);
  t.true(named(stacks, 'muster-dev-zookeeper-3').wait);
  t.false(
    named(stacks, 'muster-dev-zookeeper-3').depends_on!.some((name) => name.includes('zookeeper-2')),
    'one that never comes must not hold up the other',
  );
  for (const id of [1, 2, 3]) {
    const broker = named(stacks, `muster-dev-kafka-${id}`);
    t.is(broker.depends_on!.filter((name) => name.includes('zookeeper')).length, 3);
    t.true(broker.wait);
  }
  t.is(named(stacks, 'muster-dev-topics').depends_on!.filter((name) => name.includes('kafka-')).length, 3);
});

test('brokers and ZooKeepers ask for an address each time, also after there was none: containers come back with other addresses', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  for (const id of [1, 2, 3])
    for (const kind of ['kafka', 'zookeeper']) {
      const container = named(stacks, `muster-dev-${kind}-${id}`);
      const told = /-Djava\.security\.properties=([\w/.]+)/.exec(JSON.stringify(container))?.[1];
      const file = container.upload!.find((one) => one.file === told);
      t.is(
        file?.content,
        'networkaddress.cache.ttl=0\nnetworkaddress.cache.negative.ttl=0\n',
        `${kind}-${id}`,
      );
    }
});

test('brokers and ZooKeepers that share one small host keep to the quick compiler, those of prod have both', async (t) => {
  for (const [name, quick] of [
    ['ci', true],
    ['prod', false],
  ] as const) {
    const stacks = await synthesise(settingsOf(environments[name]));
    for (const id of [1, 2, 3])
      for (const kind of ['kafka', 'zookeeper']) {
        const container = named(stacks, `${environments[name].prefix}-${kind}-${id}`);
        t.is(JSON.stringify(container).includes('TieredStopAtLevel=1'), quick, container.name);
      }
  }
});

test('asked at another member’s address a member refuses: it does not listen on a port by which that one is reached', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  const fileOf = (alias: string) =>
    (named(stacks, `muster-dev-${alias}`).upload ?? []).map(({ content }) => content).join('\n');
  /** Where a member is reached by the others, as its own file says. */
  const reachedAt = {
    kafka: (id: number) => /^listeners=INTERNAL:\/\/[\d.]+:(\d+),/m.exec(fileOf(`kafka-${id}`))!.slice(1),
    zookeeper: (id: number) =>
      new RegExp(`^server[.]${id}=[^:]+:(\\d+):(\\d+)$`, 'm').exec(fileOf(`zookeeper-${id}`))!.slice(1),
  };
  for (const kind of ['kafka', 'zookeeper'] as const)
    for (const id of [1, 2, 3])
      for (const other of [1, 2, 3]) {
        const listens = Object.values(placementOf(dev, `${kind}-${other}`).ports);
        for (const port of reachedAt[kind](id))
          t.is(
            listens.some(({ container }) => String(container) === port),
            id === other,
            `${kind}-${other}: ${port} is ${kind}-${id}’s`,
          );
      }
});

test('where each member has a host, its address is its own, and so all have the same ports', async (t) => {
  const stacks = await synthesise(settingsOf(prod));
  for (const id of [1, 2, 3]) {
    const inside = (kind: string) =>
      (named(stacks, `muster-prod-${kind}-${id}`).ports ?? []).map(({ internal }) => internal);
    t.deepEqual(inside('zookeeper'), [2181, 2888, 3888, 7000]);
    t.true(inside('kafka').includes(9092));
  }
});

test('a job fails the apply when it fails, and runs anew when what it applies changes', async (t) => {
  const before = named(await synthesise(settingsOf(dev)), 'muster-dev-topics');
  t.is(before.restart, 'no');
  t.true(before.attach);
  t.true(before.logs);
  t.false(before.must_run);
  t.is(before.lifecycle!.postcondition![0]!.condition, '${self.exit_code == 0}');
  t.regex(before.lifecycle!.postcondition![0]!.error_message, /self\.container_logs/);
  const hash = (container: DockerContainer) =>
    container.env.find((variable) => variable.startsWith('MUSTER_CONTENT_HASH='));
  const changed = named(
    await synthesise(settingsOf({ ...dev, retentionMs: dev.retentionMs * 2 })),
    'muster-dev-topics',
  );
  t.not(hash(before), hash(changed));
  t.is(hash(before), hash(named(await synthesise(settingsOf(dev)), 'muster-dev-topics')));
});

test('no broker, ZooKeeper or store knows a topic or a group: one that is added replaces none of them', async (t) => {
  const names = [...allTopics.map(({ name }) => name), ...Object.values(groups).map(({ id }) => id)];
  // Those that are no everyday word.
  const known = names.filter((name) => /[-_.]/.test(name));
  t.true(known.length > 50);
  const containers = containersOf(await synthesise(settingsOf(dev))).filter(
    (container) =>
      !isJob(container) && /-(kafka|zookeeper|cmak|mysql(?!-backup|-guard)|redis)/.test(container.name),
  );
  t.true(containers.length >= 8);
  for (const container of containers) {
    const words = new Set(JSON.stringify(container).match(/[\w.-]+/g));
    t.deepEqual(
      known.filter((name) => words.has(name)),
      [],
      container.name,
    );
  }
});

test('nothing is uploaded into a data volume', async (t) => {
  for (const container of containersOf(await synthesise(settingsOf(dev))))
    for (const { file } of container.upload ?? [])
      for (const volume of container.volumes ?? [])
        t.false(file.startsWith(`${volume.container_path}/`), `${container.name}: ${file}`);
});

test('brokers and databases keep their data in named volumes', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  for (const [name, path] of [
    ['kafka-1', '/var/lib/kafka/data'],
    ['zookeeper-1', '/data'],
    ['mysql-1', '/var/lib/mysql'],
    ['mysql-1', '/var/lib/mysql-files'],
    ['mysql-2', '/var/lib/mysql'],
    ['mysql-2', '/var/lib/mysql-files'],
    ['mysql-guard', '/var/lib/muster/mysql-guard'],
    ['mysql-backup', '/var/lib/muster/backups'],
    ['redis', '/data'],
    ['prometheus', '/prometheus'],
  ])
    t.true(
      named(stacks, `muster-dev-${name}`).volumes!.some(
        (volume) => volume.container_path === path && volume.volume_name !== undefined,
      ),
      name,
    );
});

test('backups of prod are in a folder on the host of MySQL, with the key and the user of backups', async (t) => {
  const process = named(await synthesise(settingsOf(prod)), 'muster-prod-mysql-backup');
  t.is(process.provider, 'docker.data');
  t.deepEqual(
    process.volumes?.map(({ host_path: from, container_path: to }) => [from, to]),
    [['/srv/muster/backups', '/var/lib/muster/backups']],
  );
  t.true(process.env.includes('BACKUP_MYSQL_USER=backup'));
  t.true(process.env.some((variable) => variable.startsWith('BACKUP_KEY=')));
  const others = containersOf(await synthesise(settingsOf(dev))).filter(
    ({ name }) => !name.endsWith('-backup'),
  );
  for (const { name, env } of others) t.false(JSON.stringify(env ?? []).includes('BACKUP_KEY'), name);
});

test('the two members of MySQL are on two hosts of prod, and who decides between them on a third', async (t) => {
  const stacks = await synthesise(settingsOf(prod));
  const hostOf = (name: string) => named(stacks, `muster-prod-${name}`).provider;
  t.is(new Set(['mysql-1', 'mysql-2', 'mysql-guard'].map(hostOf)).size, 3);
  t.is(hostOf('mysql-guard'), hostOf('mysql-entrance'), 'they share a socket');
  const near = variables(await synthesise(settingsOf(dev)), 'muster-dev-mysql-guard');
  t.is(near.GUARD_MEMBERS, 'mysql-1=mysql-1:3306,mysql-2=mysql-2:3406');
  const [guard, entrance] = ['mysql-guard', 'mysql-entrance'].map((name) =>
    named(stacks, `muster-prod-${name}`).volumes!.find(({ container_path: path }) =>
      /mysql-entrance$/.test(path),
    ),
  );
  t.is(guard!.volume_name, entrance!.volume_name);
});

test('the provider that the bindings pin is overridden and the state is kept outside the checkout', async (t) => {
  for (const [id, stack] of await synthesise(settingsOf(dev))) {
    t.is(stack.terraform.required_providers.docker.version, '~> 4.6');
    t.is(stack.terraform.backend.local.path, `/var/lib/muster-test/dev/${id}.tfstate`);
  }
});

test('a state that is shared lies in the database that the environment names, each stack’s by itself, and who asks it is not said', async (t) => {
  const stacks = await synthesise({ ...settingsOf(prod), mayReplace: () => false });
  const schemas = [...stacks].map(([, { terraform }]) => terraform.backend.pg.schema_name);
  t.is(new Set(schemas).size, stacks.size);
  t.true(schemas.includes('muster_prod_kafka'));
  for (const { terraform, resource } of stacks.values()) {
    t.deepEqual(Object.keys(terraform.backend.pg), ['conn_str', 'schema_name']);
    const { username, password } = new URL(terraform.backend.pg.conn_str);
    t.is(username + password, '');
    // Who deploys by hand with secrets of their own.
    t.like(resource.terraform_data!.secrets, { lifecycle: { prevent_destroy: true } });
  }
});

test('two environments on one engine share no name', async (t) => {
  const names = async (environment: Environment) =>
    [...(await synthesise(settingsOf(environment))).values()].flatMap((stack) =>
      ['docker_container', 'docker_network', 'docker_volume'].flatMap((type) =>
        Object.values((stack.resource[type] ?? {}) as Record<string, { name: string }>).map(
          ({ name }) => `${type} ${name}`,
        ),
      ),
    );
  const other: Environment = { ...dev, name: 'other' as Environment['name'], prefix: 'muster-other' };
  const [first, second] = [await names(dev), await names(other)];
  t.is(new Set(first).size, first.length);
  t.is(new Set([...first, ...second]).size, first.length + second.length);
});

test('replicas of a process have names and scrape ports of their own', async (t) => {
  const stacks = await synthesise(settingsOf(prod));
  const [first, second] = ['muster-prod-api', 'muster-prod-api-2'].map(
    (name) => named(stacks, name).ports?.map(({ external }) => external) ?? [],
  );
  t.is(first!.length, 1);
  t.is(second!.length, 1);
  t.notDeepEqual(first, second);
});

test('a worker process gets the addresses of its environment', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  const near = variables(stacks, 'muster-dev-api');
  t.is(near.KAFKA_BROKERS, 'kafka-1:9092,kafka-2:9192,kafka-3:9292');
  t.is(near.MYSQL_HOST, 'mysql-entrance');
  t.is(near.OTLP_ENDPOINT, 'http://jaeger:4318');
  // Only who asks ZooKeeper for its disk is told where it is.
  t.is(near.ZOOKEEPER_CONNECT, undefined);
  t.is(
    variables(stacks, 'muster-dev-watch').ZOOKEEPER_CONNECT,
    'zookeeper-1:2181,zookeeper-2:2181,zookeeper-3:2181',
  );
  const far = variables(await synthesise(settingsOf(prod)), 'muster-prod-api');
  t.is(
    far.KAFKA_BROKERS,
    'kafka-1.muster.internal:9091,kafka-2.muster.internal:9091,kafka-3.muster.internal:9091',
  );
  t.is(far.MYSQL_HOST, 'guard.muster.internal');
});

test('under build CMAK and Grafana are left out, and in when the engine holds them', async (t) => {
  const without = containersOf(await synthesise(settingsOf(dev, 'build'))).map(({ name }) => name);
  t.false(without.includes('muster-dev-cmak'));
  t.false(without.includes('muster-dev-grafana'));
  const all = containersOf(await synthesise(settingsOf(dev, 'registry'))).map(({ name }) => name);
  t.true(all.includes('muster-dev-cmak'));
  t.true(all.includes('muster-dev-cmak-seed'));
  t.true(all.includes('muster-dev-grafana'));
});

test('an image that may not be to be had counts only when the engine has it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'muster-settings-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const key = (name: string) => hexKeys.includes(name as SecretName);
  const secrets = Object.fromEntries(
    Object.entries(secretsToShow).map(([name, value]) => [name, key(name) ? 'ab'.repeat(32) : value]),
  );
  for (const path of ['dev/grafana/dashboards/a.json', 'dev/prometheus/rules/a.yml', 'secrets.json']) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), JSON.stringify(secrets));
  }
  const cmakWith = (localImages: string) =>
    readSettings(
      {
        MUSTER_STATE_DIRECTORY: folder,
        MUSTER_SECRETS_FILE: join(folder, 'secrets.json'),
        MUSTER_LOCAL_IMAGES: localImages,
      },
      folder,
      imageRef,
    ).image('cmak');
  t.is(cmakWith(''), undefined);
  t.like(cmakWith('muster/cmak:3.0.0.6'), { local: true });
});

test('no default password: CMAK and Grafana get the environment’s secrets', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  t.true(
    named(stacks, 'muster-dev-cmak').env.includes(`KAFKA_MANAGER_PASSWORD=${secretsToShow.cmakPassword}`),
  );
  t.true(
    named(stacks, 'muster-dev-grafana').env.includes(
      `GF_SECURITY_ADMIN_PASSWORD=${secretsToShow.grafanaPassword}`,
    ),
  );
});

test('pages of other sites read neither metrics nor log lines by way of somebody’s browser', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  t.true(named(stacks, 'muster-dev-prometheus').command?.includes('--web.cors.origin=nobody'));
  t.true(named(stacks, 'muster-dev-victorialogs').command?.includes('-http.disableCORS'));
});

test('the console draws the dashboards everywhere, and leads to the pages of Jaeger and Grafana where they have one', async (t) => {
  for (const source of ['build', 'registry'] as const) {
    const stacks = await synthesise(settingsOf(dev, source));
    const { CONSOLE_DASHBOARDS_FILE: file, ...asked } = variables(stacks, 'muster-dev-api');
    t.like(asked, {
      CONSOLE_PROMETHEUS_URL: 'http://prometheus:9090',
      CONSOLE_TRACES_URL: 'http://jaeger:16686',
      CONSOLE_JAEGER_URL: source === 'build' ? undefined : 'http://127.0.0.1:19016',
      CONSOLE_GRAFANA_URL: source === 'build' ? undefined : 'http://127.0.0.1:19030',
    });
    const [upload] = named(stacks, 'muster-dev-api').upload!.filter((one) => one.file === file);
    t.is(upload?.content, '{"overview":{"title":"$${not_terraform}"}}');
  }
  const far = named(await synthesise(settingsOf(prod)), 'muster-prod-api').env;
  t.false(far.some((line) => line.startsWith('CONSOLE_')));
});

test('Grafana fetches nothing at its start', async (t) => {
  const { env } = named(await synthesise(settingsOf(dev)), 'muster-dev-grafana');
  for (const setting of ['PLUGINS_PREINSTALL_DISABLED=true', 'ANALYTICS_CHECK_FOR_UPDATES=false'])
    t.true(env.includes(`GF_${setting}`), setting);
});

test('only the processes of console and membership can make tokens; prod counts those of the site’s identity provider', async (t) => {
  const has = (text: string) => (stacks: Map<string, StackJson>) =>
    containersOf(stacks)
      .filter(({ env }) => env?.some((line) => line.includes(text)))
      .map(({ name }) => name);
  const near = await synthesise(settingsOf(dev));
  t.deepEqual(has(secretsToShow.tokenSigningKey)(near).sort(), [
    'muster-dev-api',
    'muster-dev-api-2',
    'muster-dev-pay',
  ]);
  t.deepEqual(has(secretsToShow.trafficToken)(near), ['muster-dev-traffic']);
  t.deepEqual(has(secretsToShow.trafficStaffToken)(near), ['muster-dev-traffic']);
  t.deepEqual(has(secretsToShow.trafficRiderToken)(near), ['muster-dev-traffic']);
  t.true(named(near, 'muster-dev-api').env.includes(`TOKEN_VERIFY_KEY=${secretsToShow.tokenVerifyKey}`));
  t.true(named(near, 'muster-dev-watch').env.includes('HTTP_ALLOWED_HOSTS=watch,127.0.0.1'));
  const far = await synthesise(settingsOf(prod));
  t.deepEqual(has(secretsToShow.tokenSigningKey)(far), []);
  const api = named(far, 'muster-prod-api').env;
  t.true(api.includes(`TOKEN_JWKS_URL=${prod.siteTokens!.jwksUrl}`));
  t.false(api.some((line) => line.startsWith('TOKEN_VERIFY_KEY')));
  t.true(api.includes('HTTP_ALLOWED_HOSTS=api,edge.muster.internal,api.muster.internal'));
});

test('people reach processes by the gateway: it has their ports, and they publish none of their own', async (t) => {
  for (const environment of [dev, ci, prod]) {
    const stacks = await synthesise(settingsOf(environment));
    const of = (alias: string) => named(stacks, `${environment.prefix}-${alias}`);
    const gateway = of('gateway');
    const behind = environment.processes.list.filter(({ gatewayPort }) => gatewayPort !== undefined);
    t.true(behind.some(({ name }) => name === 'api'));
    const config = of('gateway-settings').upload!.find(({ file }) => file.endsWith('.cfg'))!.content;
    for (const { name, gatewayPort, replicas } of behind) {
      t.true(
        gateway.ports!.some(({ internal, external }) => internal === gatewayPort && external === gatewayPort),
      );
      const inClear = environment.tls === undefined;
      t.regex(config, new RegExp(`bind :${gatewayPort}${inClear ? '' : ' ssl .*'}$`, 'm'));
      for (const alias of [name, ...(replicas > 1 ? [`${name}-2`] : [])]) {
        t.regex(config, new RegExp(`server ${alias} \\S+:\\d+ check `));
        t.false(
          (of(alias).ports ?? []).some(({ external }) => external === gatewayPort),
          alias,
        );
        t.like(variables(stacks, of(alias).name), { HTTP_BEHIND_GATEWAY: 'true', DRAIN_NOTICE_MS: '2000' });
      }
    }
    t.is(behind.find(({ name }) => name === 'api')!.replicas, 2);
  }
});

test('people reach the pages of servers that are not ours by a gateway of their own, and these publish none', async (t) => {
  const all = ['prometheus', 'alertmanager', 'grafana', 'jaeger', 'victorialogs', 'cmak'] as const;
  for (const [environment, source] of [
    [dev, 'build'],
    [ci, 'registry'],
  ] as const) {
    const stacks = await synthesise(settingsOf(environment, source));
    const isThere = (name: string) => source === 'registry' || (name !== 'grafana' && name !== 'cmak');
    const ofContainer = new Map(
      containersOf(stacks).map(({ name, ports }) => [name, (ports ?? []).map(({ external }) => external)]),
    );
    t.deepEqual(
      [...ofContainer.get(`${environment.prefix}-pages`)!].sort(),
      all
        .filter(isThere)
        .map((name) => environment[name].publishedPort)
        .sort(),
    );
    const { upload } = named(stacks, `${environment.prefix}-pages`);
    for (const name of all) {
      const published = ofContainer.get(`${environment.prefix}-${name}`) ?? [];
      t.deepEqual(published, name === 'jaeger' ? [environment.jaeger.otlpPublishedPort] : [], name);
      t.is(new RegExp(`server ${name} ${name}:\\d+ check `).test(upload![0]!.content), isThere(name), name);
    }
  }
  // Across hosts a server is published for the gateway, and people are told that one's address.
  t.is(urlFromHost(prod, 'grafana'), 'https://edge.muster.internal:3000');
  t.true(
    named(await synthesise(settingsOf(prod)), 'muster-prod-prometheus').command!.includes(
      '--web.external-url=https://edge.muster.internal:9090',
    ),
  );
});

test('what the gateway works by is handed to it while it runs: only another image or port replaces it', async (t) => {
  const gatewayOfDev = async (changes: Partial<Environment>, source: 'registry' | 'build' = 'build') => {
    const stacks = await synthesise(settingsOf({ ...dev, ...changes }, source));
    return ['muster-dev-gateway', 'muster-dev-gateway-settings'].map((name) =>
      JSON.stringify(named(stacks, name)),
    );
  };
  const [container, job] = await gatewayOfDev({});
  const { list } = dev.processes;
  const behind = list.filter(({ gatewayPort }) => gatewayPort !== undefined);
  const limits = { ...dev.gateway.limits, bodyBytes: 1 };
  const more = list.map((one) => (one.name === 'pay' ? { ...one, replicas: 2 } : one));
  const live: readonly Partial<Environment>[] = [
    { gateway: { ...dev.gateway, limits } },
    { hostNames: ['shop.example'] },
    { processes: { ...dev.processes, list: more } },
  ];
  for (const changes of live) {
    const [same, other] = await gatewayOfDev(changes);
    t.is(same, container);
    t.not(other, job);
  }
  const without = list.filter((one) => one !== behind[0]);
  t.not((await gatewayOfDev({ processes: { ...dev.processes, list: without } }))[0], container);
  t.not((await gatewayOfDev({}, 'registry'))[0], container);
  const { depends_on: after } = JSON.parse(container!) as DockerContainer;
  t.true(after!.some((one) => one.includes('gateway-settings')));
});

test('an environment with a certificate speaks TLS at both gateways and nothing else, and people and traffic are told so', async (t) => {
  const stacks = await synthesise(settingsOf({ ...dev, tls: 'made' }, 'registry'));
  const config = (name: string) =>
    named(stacks, name).upload!.find(({ file }) => file.endsWith('/haproxy.cfg'))!.content;
  for (const name of ['muster-dev-gateway-settings', 'muster-dev-pages']) {
    const binds = config(name).match(/^ +bind .*$/gm)!;
    t.true(binds.length >= 4);
    for (const bind of binds)
      if (!bind.endsWith(':8404')) t.regex(bind, / ssl crt \/\S+\.pem alpn h2,http\/1\.1$/);
    const files = named(stacks, name).upload!.filter(({ content }) => content === 'certificate and key');
    t.is(files.length, 1);
  }
  t.true(config('muster-dev-pages').includes(`crt ${named(stacks, 'muster-dev-pages').upload![0]!.file} `));
  t.like(variables(stacks, 'muster-dev-traffic'), {
    TRAFFIC_API_URL: 'https://gateway:19080',
    TRAFFIC_BANKS_URL: 'http://outside-world:8080',
    NODE_EXTRA_CA_CERTS: '/etc/muster/ca.pem',
  });
  t.true(named(stacks, 'muster-dev-traffic').upload![0]!.content.startsWith('-----BEGIN CERTIFICATE-----\n'));
  t.is(urlFromHost({ ...dev, tls: 'made' }, 'prometheus'), 'https://127.0.0.1:19009');
  t.is(urlFromHost({ ...dev, tls: 'made' }, 'outside-world'), 'http://127.0.0.1:19081');
});

test('another certificate is handed to the gateway while it runs, as another configuration is', async (t) => {
  const gatewayWith = async (certificate: string) => {
    const stacks = await synthesise({ ...settingsOf({ ...dev, tls: 'made' }), certificate });
    return ['muster-dev-gateway', 'muster-dev-gateway-settings'].map((name) =>
      JSON.stringify(named(stacks, name)),
    );
  };
  const [container, job] = await gatewayWith('one');
  const [same, other] = await gatewayWith('another');
  t.is(same, container);
  t.not(other, job);
});

test('where people have addresses of their own, one of them cannot take all that the gateway has', (t) => {
  for (const { limits } of [prod.gateway, prod.pages]) {
    const { connections, connectionsEach, buffers } = limits;
    t.true(connectionsEach <= connections / 2);
    // An answer that is not read has four.
    t.true(4 * connectionsEach <= buffers / 2);
  }
  // A connection of HTTP/2 is ten requests, with 72 buffers when nobody reads the answers.
  const config = renderGateway(gatewayOf(prod));
  t.regex(config, /^ +tune\.h2\.max-concurrent-streams 10$/m);
  t.regex(config, /^ +tcp-request session reject if \{ sc1_conn_cur gt 55 \}$/m);
  t.true(55 * 72 <= prod.gateway.limits.buffers / 2);
  t.regex(config, /^ +option disable-h2-upgrade$/m);
});

test('what plays people calls at the gateway, and its name is known there and behind it', async (t) => {
  const stacks = await synthesise(settingsOf(dev));
  t.like(variables(stacks, 'muster-dev-traffic'), {
    TRAFFIC_API_URL: 'http://gateway:19080',
    TRAFFIC_PAY_URL: 'http://gateway:19082',
    TRAFFIC_DELIVERY_URL: 'http://gateway:19083',
    TRAFFIC_BANKS_URL: 'http://outside-world:8080',
  });
  t.is(variables(stacks, 'muster-dev-api-2').HTTP_ALLOWED_HOSTS, 'api-2,127.0.0.1,gateway');
  t.is(variables(stacks, 'muster-dev-pay').MEMBERSHIP_URL, 'http://pay:8080');
  t.regex(
    named(stacks, 'muster-dev-gateway-settings').upload![0]!.content,
    /acl host-known .* localhost gateway 127\.0\.0\.1$/m,
  );
});

test('a process that asks other services gets their addresses and a token of its own, others neither', async (t) => {
  const [first] = dev.processes.list;
  const asking = { ...first!, name: 'asking', workers: ['banking'], gatewayPort: 19_990 };
  const asked = { ...first!, name: 'asked', workers: ['membership'], gatewayPort: 19_991 };
  const list = [...dev.processes.list.filter(({ name }) => name !== 'pay'), asking, asked];
  const stacks = await synthesise({
    ...settingsOf({ ...dev, processes: { ...dev.processes, list } }),
    secrets: { ...secretsToShow, [serviceTokenOf('asking')]: 'token-of-asking' },
  });
  t.like(variables(stacks, 'muster-dev-asking'), {
    MEMBERSHIP_URL: 'http://asked:8080',
    SERVICE_TOKEN: 'token-of-asking',
  });
  for (const name of ['muster-dev-asked', 'muster-dev-api'])
    t.false('SERVICE_TOKEN' in variables(stacks, name) || 'MEMBERSHIP_URL' in variables(stacks, name));
  const alone = { ...dev, processes: { ...dev.processes, list: [asking] } };
  t.throws(() => serviceUrls(alone, ['banking']), { code: 'MUSTER_SERVICE_MISSING' });
});

test('text that looks like Terraform’s interpolation reaches the container as it is', async (t) => {
  t.is(literal('${a} %{b} $c 100%'), '$${a} %%{b} $c 100%');
  const grafana = named(await synthesise(settingsOf(dev)), 'muster-dev-grafana');
  t.true(grafana.upload!.some(({ content }) => content.includes('$${not_terraform}')));
});

test('durations are written as Go prints them', (t) => {
  t.deepEqual([0, 500, 5_000, 60_000, 90_000, 1_500, 3_600_000, 3_661_000].map(goDuration), [
    '0s',
    '500ms',
    '5s',
    '1m0s',
    '1m30s',
    '1.5s',
    '1h0m0s',
    '1h1m1s',
  ]);
  t.deepEqual([4, 0.5, 1.25, 10].map(decimalCpus), ['4.0', '0.5', '1.25', '10.']);
  t.throws(() => decimalCpus(0.05), { code: 'MUSTER_CPUS_INVALID' });
  t.is(contentHash({ a: 1 }), contentHash({ a: 1 }));
});

test('settings name what is missing and how to get it', (t) => {
  const read = (variables: NodeJS.ProcessEnv) => () =>
    readSettings(variables, '/nonexistent', (name: ImageName) => imageRef(name, 'build'));
  t.throws(read({ MUSTER_ENV: 'moon' }), { code: 'MUSTER_ENV_UNKNOWN' });
  t.throws(read({ MUSTER_IMAGES: 'ftp' }), { code: 'MUSTER_IMAGES_UNKNOWN' });
  t.throws(read({}), { code: 'MUSTER_STATE_DIRECTORY_MISSING', message: /muster env/ });
  t.throws(read({ MUSTER_STATE_DIRECTORY: '/tmp' }), { code: 'MUSTER_SECRETS_MISSING' });
});

/** Terraform needs the provider for this: `./muster test` names its configuration file, and `up` leaves a mirror. */
const artifacts = join(
  process.env.XDG_CACHE_HOME || join(process.env.HOME ?? '', '.cache'),
  'muster/artifacts/terraform-provider-docker',
);
const terraformConfig = [
  process.env.TF_CLI_CONFIG_FILE,
  ...(existsSync(artifacts) ? readdirSync(artifacts).map((key) => join(artifacts, key, 'terraform.rc')) : []),
].find((file) => file !== undefined && existsSync(file));

for (const environment of [dev, prod])
  (terraformConfig === undefined ? test.skip : test)(
    `terraform validates every stack of ${environment.name}`,
    async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'muster-validate-'));
      t.teardown(() => rm(folder, { recursive: true }));
      const stacks = await synthesise(settingsOf(environment), folder);
      const env = { ...process.env, TF_CLI_CONFIG_FILE: terraformConfig, CHECKPOINT_DISABLE: '1' };
      // One folder after the other: they share the initialised provider.
      let initialised: string | undefined;
      for (const id of stacks.keys()) {
        const cwd = join(folder, 'stacks', id);
        if (initialised === undefined)
          await run('terraform', ['init', '-backend=false', '-input=false'], { cwd, env });
        else {
          await cp(join(initialised, '.terraform'), join(cwd, '.terraform'), { recursive: true });
          await cp(join(initialised, '.terraform.lock.hcl'), join(cwd, '.terraform.lock.hcl'));
        }
        initialised ??= cwd;
        const { stdout } = await run('terraform', ['validate', '-json'], { cwd, env });
        const result = JSON.parse(stdout) as { valid: boolean; diagnostics: unknown[] };
        t.true(result.valid, `${id}: ${JSON.stringify(result.diagnostics)}`);
      }
    },
  );
