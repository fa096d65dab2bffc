/** Kafka Streams with the same join (peer/Peer.java), so that ours is measured beside it in the same hour. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../environment/children.ts';
import { throwIfInterrupted } from '../../environment/interruption.ts';
import { cacheDirectory } from '../../environment/paths.ts';
import { reportFolder, root, say } from '../common/bench.ts';

export interface Peer {
  drain(events: number): Promise<PeerDrain>;
  latency(seconds: number, warmUpSeconds: number): Promise<PeerLatency>;
}
export interface PeerDrain {
  readonly events: number;
  readonly results: number;
  readonly eventsPerSecond: number;
  readonly secondsWithStart: number;
}
export interface PeerLatency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly lost: number;
}

const source = join(root, 'bench/promotion/peer');
const classes = join(reportFolder, 'peer');

/** The peer, compiled; a sentence that says why there is none when Java or Maven is missing. */
export async function preparePeer(brokers: readonly string[], signal: AbortSignal): Promise<Peer | string> {
  for (const program of ['java', 'javac', 'mvn'])
    if ((await run(program, ['-version']).catch(() => undefined)) === undefined)
      return `not compared: ${program} is not installed`;
  const folder = await resolveJars(signal);
  if (folder === undefined) return 'not compared: the jars of Kafka Streams cannot be had';
  const jars = join(folder, '*');
  mkdirSync(classes, { recursive: true });
  const compiled = await run('javac', ['-cp', jars, '-d', classes, join(source, 'Peer.java')], {
    signal,
    onLine: say,
  });
  throwIfInterrupted(signal);
  if (compiled.exitCode !== 0) return 'not compared: javac did not compile the peer';

  async function ask<T>(memory: string, ...args: (string | number)[]): Promise<T> {
    const child = spawn('java', [memory, '-cp', `${classes}:${jars}`, 'Peer', ...args.map(String)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      signal,
      env: { ...process.env, BOOT: brokers.join(',') },
    });
    // A stop on Ctrl-C is told by how it closes.
    child.on('error', () => undefined);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`the peer ended with ${code}`);
    return JSON.parse(output) as T;
  }
  return {
    drain: (events) => ask('-Xmx1g', 'drain', events),
    latency: (seconds, warmUp) => ask('-Xmx512m', 'latency', seconds, warmUp),
  };
}

/** The jars of peer/pom.xml in the cache directory; undefined when Maven cannot get them. */
async function resolveJars(signal: AbortSignal): Promise<string | undefined> {
  const folder = join(cacheDirectory(), 'artifacts', 'kafka-streams-jars', '3.9.2');
  if (existsSync(folder)) return folder;
  say('resolving the jars of Kafka Streams');
  const unfinished = `${folder}.${process.pid}`;
  const copy = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
  const pom = join(source, 'pom.xml');
  const args = ['-q', '-B', '-f', pom, copy, `-DoutputDirectory=${unfinished}`];
  const { exitCode } = await run('mvn', args, { signal, onLine: say });
  if (exitCode === 0) renameSync(unfinished, folder);
  else rmSync(unfinished, { recursive: true, force: true });
  throwIfInterrupted(signal);
  return exitCode === 0 ? folder : undefined;
}

/** Median, least and greatest of figures; the middle two's mean when their number is even. */
export function spread(values: readonly number[]): {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
} {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median: Math.round(median * 10) / 10, least: sorted[0]!, greatest: sorted.at(-1)! };
}
