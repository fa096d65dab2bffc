/** What `./muster status` prints, from what was found out. Pure. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { age, painter, plainTable, tableText } from '../drawing/table.ts';
import type { BackupState } from '../environment/backup.ts';
import type { Container } from '../environment/docker.ts';
import type { GuardState } from '../environment/guard.ts';
import type { ClusterState, GroupLag } from '../environment/kafka.ts';
import {
  isPageServer,
  type Placement,
  pageServers,
  placements,
  urlFromHost,
} from '../stacks/config/index.ts';

export interface Part {
  readonly component: string;
  readonly node: string;
  readonly state: string;
  readonly health: string;
  readonly upMs: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly address: string;
  readonly ok: boolean;
  /** Said below the table when it is not ok. */
  readonly problem: string | undefined;
}

/** Where people and programs reach a part. A page stands with its server, not with the gateway before it. */
function addressesOf(environment: Environment, { alias, host, ports }: Placement): readonly string[] {
  const page = isPageServer(alias) ? pageServers[alias].portName : undefined;
  const others = Object.entries(ports).flatMap(([name, { published }]) =>
    published === undefined || name === page || isPageServer(name)
      ? []
      : [`${alias === 'gateway' ? 'http://' : ''}${environment.hosts[host]!.address}:${published}`],
  );
  return page === undefined ? others : [urlFromHost(environment, alias), ...others];
}

/**
 * Every part that the environment should have, and jobs that failed. A part that its image source cannot provide
 * (`leftOut`) is not missed. Workers count as ok only when they say that they are ready.
 */
export function partsOf(
  environment: Environment,
  containers: readonly Container[],
  facts: {
    readonly memory: ReadonlyMap<string, number>;
    readonly nowMs: number;
    readonly leftOut: ReadonlySet<string>;
    /** By alias; undefined: not known. */
    readonly ready: ReadonlyMap<string, boolean>;
  },
): readonly Part[] {
  const byName = new Map(containers.map((container) => [container.name, container]));
  const parts = placements(environment)
    .filter(({ component }) => !facts.leftOut.has(component))
    .map((placement): Part => {
      const container = byName.get(`${environment.prefix}-${placement.alias}`);
      const common = {
        component: placement.alias,
        node: placement.host,
        address: addressesOf(environment, placement).join('  '),
      };
      if (container === undefined) {
        const unknown = { state: 'missing', health: '', upMs: undefined };
        const memory = { memoryBytes: undefined, memoryLimitBytes: undefined };
        return { ...common, ...unknown, ...memory, ok: false, problem: `${placement.alias} is missing` };
      }
      const running = container.state === 'running';
      const notReady = facts.ready.get(placement.alias) === false;
      const health =
        container.health === 'healthy' && notReady ? 'not ready' : (container.health ?? 'no check');
      const ok = running && container.health !== 'unhealthy' && container.health !== 'starting' && !notReady;
      return {
        ...common,
        state:
          running && container.restarts > 0 ? `running, ${container.restarts}x restarted` : container.state,
        health: running ? health : '',
        upMs: running ? facts.nowMs - container.startedAtMs : undefined,
        memoryBytes: facts.memory.get(container.id),
        memoryLimitBytes: container.memoryLimitBytes,
        ok,
        problem: ok ? undefined : problemOf(placement.alias, container, health),
      };
    });
  const jobs = containers
    .filter((container) => container.oneShot && (container.state !== 'exited' || container.exitCode !== 0))
    .map((container): Part => {
      const alias = container.name.replace(`${environment.prefix}-`, '');
      const ok = container.state === 'running';
      return {
        component: alias,
        node: '',
        state: container.state === 'exited' ? `exited ${container.exitCode}` : container.state,
        health: 'job',
        upMs: undefined,
        memoryBytes: undefined,
        memoryLimitBytes: undefined,
        address: '',
        ok,
        problem: ok
          ? undefined
          : `job ${alias} ended with exit code ${container.exitCode}: ./muster logs ${alias}`,
      };
    });
  return [...parts, ...jobs];
}

function problemOf(alias: string, container: Container, health: string): string {
  if (container.state !== 'running') {
    const why = container.oomKilled ? ', killed for want of memory' : '';
    return `${alias} is ${container.state} (exit code ${container.exitCode}${why}): ./muster logs ${alias}`;
  }
  return `${alias} is ${health}: ./muster logs ${alias}`;
}

function mebibytes(bytes: number | undefined): string {
  return bytes === undefined ? '' : String(Math.round(bytes / 1024 ** 2));
}

/** The table of parts. */
export function renderParts(parts: readonly Part[], colour: boolean): string {
  const paint = painter(colour);
  const showHosts = new Set(parts.map(({ node }) => node).filter((node) => node !== '')).size > 1;
  const head = [
    '',
    'component',
    ...(showHosts ? ['host'] : []),
    'state',
    'health',
    'up',
    'MiB',
    'of',
    'reach it at',
  ];
  const shift = showHosts ? 1 : 0;
  const table = plainTable(head, [4 + shift, 5 + shift, 6 + shift], paint);
  for (const part of parts) {
    const tone = part.ok ? 'green' : 'red';
    const full =
      part.memoryBytes !== undefined && part.memoryLimitBytes !== undefined && part.memoryLimitBytes > 0
        ? part.memoryBytes / part.memoryLimitBytes
        : 0;
    table.push([
      paint(tone, part.ok ? '●' : '✖'),
      part.component,
      ...(showHosts ? [part.node] : []),
      part.ok ? part.state : paint('red', part.state),
      paint(part.ok ? 'reset' : 'red', part.health),
      part.upMs === undefined ? '' : age(part.upMs),
      paint(full > 0.9 ? 'yellow' : 'reset', mebibytes(part.memoryBytes)),
      paint('dim', part.memoryLimitBytes === 0 ? '' : mebibytes(part.memoryLimitBytes)),
      part.address,
    ]);
  }
  return tableText(table);
}

/** The lines about Kafka below the table. */
export function renderCluster(
  state: ClusterState,
  lag: GroupLag | undefined,
  flow: ReadonlyMap<string, number>,
  colour: boolean,
): string {
  const paint = painter(colour);
  const good = (ok: boolean, text: string) => paint(ok ? 'green' : 'red', text);
  const brokers = `${state.brokers.length} of ${state.expectedBrokers}`;
  const missing = state.missingTopics.length === 0 ? '' : `, missing: ${state.missingTopics.join(', ')}`;
  const rate = (value: number) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
  const lines = [
    ['brokers alive', good(state.brokers.length === state.expectedBrokers, brokers)],
    [
      'controller',
      good(
        state.controller !== undefined,
        state.controller === undefined ? 'none' : `kafka-${state.controller}`,
      ),
    ],
    [
      'partitions',
      `${state.partitions} in ${state.topics} topics${missing}, ${good(state.underReplicated === 0, `${state.underReplicated} under-replicated`)}, ${good(state.offline === 0, `${state.offline} offline`)}`,
    ],
    ...(lag === undefined
      ? []
      : [
          [
            'lag',
            `${lag.group} ${lag.records === undefined ? 'has not committed yet' : `${lag.records} records`}`,
          ],
        ]),
    ['messages/s', [...flow].map(([topic, value]) => `${topic} ${rate(value)}`).join(' · ')],
  ];
  const width = Math.max(...lines.map(([name]) => name!.length));
  return lines.map(([name, text]) => `${paint('dim', name!.padEnd(width))}  ${text}`).join('\n');
}

/** What is wrong with the cluster; empty when nothing is. */
export function clusterProblems(state: ClusterState): readonly string[] {
  return [
    ...(state.brokers.length < state.expectedBrokers
      ? [`${state.expectedBrokers - state.brokers.length} broker(s) are not in the cluster`]
      : []),
    ...(state.controller === undefined ? ['no broker is controller'] : []),
    ...(state.missingTopics.length > 0
      ? [`topics are missing (${state.missingTopics.join(', ')}): ./muster topics apply`]
      : []),
    ...(state.offline > 0 ? [`${state.offline} partitions have no leader`] : []),
    ...(state.underReplicated > 0 ? [`${state.underReplicated} partitions are under-replicated`] : []),
  ];
}

/** Which member of the database takes writes, and whether the other one has them. */
export function guardLine(state: GuardState | Error): string {
  if (state instanceof Error) return 'not known';
  const { writer, members, atRiskSeconds } = state;
  if (writer === undefined) return 'nobody takes writes';
  const other = members.find(({ name }) => name !== writer);
  const copy =
    atRiskSeconds === 0
      ? `${other?.name} has everything`
      : `${other?.name} ${other?.up === true ? 'is catching up' : 'does not answer'}`;
  const since = Number.isFinite(atRiskSeconds) ? ` since ${age(atRiskSeconds * 1_000)}` : '';
  return `${writer} takes writes · ${copy}${atRiskSeconds === 0 ? '' : since}`;
}

/** What is wrong with the members of the database now. */
export function guardProblems(state: GuardState | Error): readonly string[] {
  if (state instanceof Error) return [`how MySQL stands is not known: ${state.message}`];
  if (state.writer === undefined)
    return ['no member of MySQL takes writes: ./muster logs mysql-guard says what it waits for'];
  return state.atRiskSeconds > 0 ? ['what MySQL acks is on one member only: ./muster logs mysql-guard'] : [];
}

/** How much of the database is on one disk alone, and how old its backup is. */
export function backupLine(state: BackupState | Error, nowMs: number): string {
  if (state instanceof Error) return 'not known';
  const since = (seconds: number, never: string) =>
    seconds === 0 ? never : `${age(nowMs - seconds * 1_000)} ago`;
  const risk = Number.isFinite(state.atRiskSeconds) ? age(state.atRiskSeconds * 1_000) : 'everything';
  return `${risk} at risk · base copy ${since(state.baseSeconds, 'none yet')} · tried ${since(state.verifiedSeconds, 'not yet')}`;
}

/** What is wrong with the backup now; how old it may be is an alert's to say. */
export function backupProblems(state: BackupState | Error): readonly string[] {
  if (state instanceof Error) return [`whether there is a backup is not known: ${state.message}`];
  return state.atRiskSeconds > limits.backupAtRiskSeconds
    ? ['the log of MySQL is not backed up: ./muster logs mysql-backup']
    : [];
}
