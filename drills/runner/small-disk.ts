/**
 * A broker on a disk that is nearly full, or full. Its disk is a small one in memory for that time, so that the host's
 * own is never touched; what it had is on the other brokers, from which it copies all, and on its own disk, which it
 * gets back.
 */
import { randomBytes } from 'node:crypto';
import { freemem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { diskAlerts } from '../../alerts/disk.ts';
import { renderGroup } from '../../alerts/promtool.ts';
import { isAlert } from '../../alerts/rule.ts';
import type { Environment } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import { docker, dockerArgs } from '../../environment/docker.ts';
import { observabilityPaths } from '../../stacks/config/observability.ts';
import { paths } from '../../stacks/config/paths.ts';
import { brokersOutside, hostOf, placementOf } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Injected } from '../faults.ts';
import { untilInSync } from '../rolling-restart.ts';
import { standInOf } from '../stand-in.ts';
import { valueNow } from './prometheus.ts';
import { type ProcedureStage, until } from './stage.ts';

const brokerId = 3;
const alias = `kafka-${brokerId}`;
const graceMs = 60_000;
const megabyte = 1e6;
const mostBytes = 1_500 * megabyte;
/** An alert that fires is sent within some seconds; then the cause may go. */
const sentMs = 12_000;

/** Its logs take 85 % of its disk until DiskLow fires. The alert is told the size that the disk has now. */
export async function nearlyFillDisk(stage: ProcedureStage): Promise<void> {
  const logBytes = await logsOf(stage.environment);
  // Room for the load of the minutes in which the alert waits.
  const bytes = Math.max(512 * megabyte, 2 * logBytes);
  const disk = await onSmallDisk(stage, bytes);
  const told = await stage.faults.inject('prometheus', {
    kind: 'file',
    path: `${observabilityPaths.rulesFolder}/drill.yml`,
    text: diskLowFor(stage.environment, bytes),
  });
  const removeBallast = await sendBallast(stage, 0.85 * bytes - logBytes);
  try {
    stage.note(`${alias}: 85 % of its disk are in use`);
    await untilFiring(stage, 'DiskLow', 8 * 60_000);
  } finally {
    await removeBallast();
  }
  await told.heal();
  await offSmallDisk(stage, disk);
}

/** Somebody fills its disk; it stops by itself, and cannot start again before it has its own disk back. */
export async function fillDisk(stage: ProcedureStage): Promise<void> {
  const bytes = Math.max(256 * megabyte, (await logsOf(stage.environment)) + 128 * megabyte);
  const disk = await onSmallDisk(stage, bytes);
  stage.disturbed(`the disk of ${alias} is full`);
  await fill(stage.environment, bytes);
  await until(stage, `${alias} stops`, async () => !(await isThere(stage)));
  stage.note(`${alias} has stopped by itself`);
  await untilFiring(stage, 'BrokersMissing', 3 * 60_000);
  await offSmallDisk(stage, disk);
}

/** What its logs take, in bytes, as the alerts see it. */
async function logsOf(environment: Environment): Promise<number> {
  const bytes = await valueNow(environment, `${metrics.recorded.brokerLogBytes}{instance="${alias}"}`);
  if (bytes === undefined)
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `Prometheus does not know what the logs of ${alias} take`,
    );
  return bytes;
}

async function onSmallDisk(stage: ProcedureStage, bytes: number): Promise<Injected> {
  if (bytes > mostBytes || 2 * bytes > freemem())
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `A disk of ${Math.round(bytes / megabyte)} MB in memory is too large here; bring the environment down with --volumes first.`,
    );
  stage.disturbed(`${alias} gets a disk of ${Math.round(bytes / megabyte)} MB`);
  const disk = await stage.faults.inject(alias, {
    kind: 'replace',
    graceMs,
    disk: { path: paths.kafkaData, bytes },
  });
  await untilInSync(stage, `after ${alias} got a small disk`);
  stage.note(`${alias} has copied everything to its small disk`);
  return disk;
}

async function offSmallDisk(stage: ProcedureStage, disk: Injected): Promise<void> {
  stage.disturbed(`${alias} gets its own disk back`);
  await disk.heal();
  await untilInSync(stage, `after ${alias} got its own disk back`);
  stage.note(`${alias} is in sync on its own disk`);
  await sleep(5_000, undefined, { signal: stage.signal });
}

/** The alert of the catalog, for a disk of this size. */
function diskLowFor(environment: Environment, dataDiskBytes: number): string {
  const { rules } = diskAlerts({ ...environment, kafka: { ...environment.kafka, dataDiskBytes } });
  return renderGroup({
    name: 'disk-of-a-drill',
    rules: rules.filter((rule) => isAlert(rule) && rule.name === 'DiskLow'),
  });
}

async function untilFiring(stage: ProcedureStage, alert: string, withinMs: number): Promise<void> {
  const firing = `max(ALERTS{alertname="${alert}",alertstate="firing"})`;
  await until(
    stage,
    `${alert} fires`,
    async () => (await valueNow(stage.environment, firing)) === 1,
    withinMs,
  );
  stage.note(`${alert} fires`);
  await sleep(sentMs, undefined, { signal: stage.signal });
}

async function isThere({ kafka }: ProcedureStage): Promise<boolean> {
  const cluster = kafka.cluster();
  try {
    return (await cluster.topology()).brokers.includes(brokerId);
  } catch {
    // The one that was asked may be the one that is stopping.
    return true;
  } finally {
    await cluster.close();
  }
}

/** A file as large as the whole disk: the end of it does not fit. */
async function fill(environment: Environment, bytes: number): Promise<void> {
  const { dockerUri } = hostOf(environment, placementOf(environment, alias).host);
  const script = 'head -c "$1" /dev/zero >"$2" || true';
  const [standIn, file] = [standInOf(`${environment.prefix}-${alias}`), `${paths.kafkaData}/ballast`];
  const command = ['/bin/sh', '-c', script, 'sh', String(bytes), file];
  await docker(dockerArgs({ dockerUri }, ['exec', standIn, ...command]));
}

/** Lag and alerts leave topics of tests alone. */
const ballast = 'test.drill-ballast';
const ballastBytesPerSecond = 15 * megabyte;
const recordBytes = 64 * 1_024;

/** Fills a topic whose only copy is on the broker with so many bytes. Returns what removes it. */
async function sendBallast(stage: ProcedureStage, bytes: number): Promise<() => Promise<void>> {
  const { environment, kafka, signal } = stage;
  const admin = new kafkajs.Kafka({
    brokers: brokersOutside(environment).split(','),
    clientId: 'muster-drill',
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 15 },
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin();
  await admin.connect();
  const remove = async () => {
    // Of an earlier run that was killed, too.
    const left = (await admin.listTopics()).filter((name) => name.startsWith(ballast));
    if (left.length > 0) await admin.deleteTopics({ topics: left });
  };
  try {
    await remove();
    const topic = `${ballast}-${randomBytes(4).toString('hex')}`;
    const replicaAssignment = [{ partition: 0, replicas: [brokerId] }];
    const configEntries = [{ name: 'min.insync.replicas', value: '1' }];
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, replicaAssignment, configEntries }] });
    const producer = await kafka.producer('drill-ballast');
    // Random bytes: no codec makes less of them.
    const records = Array.from({ length: 4 }, () => ({ topic, key: null, value: randomBytes(recordBytes) }));
    for (let sent = 0; sent < bytes; sent += records.length * recordBytes) {
      await producer.send(records);
      await sleep((records.length * recordBytes * 1_000) / ballastBytesPerSecond, undefined, { signal });
    }
    await producer.close();
  } catch (error) {
    await remove().catch(() => undefined);
    await admin.disconnect();
    throw error;
  }
  return async () => {
    await remove();
    await admin.disconnect();
  };
}
