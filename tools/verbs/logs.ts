/**
 * `./muster logs`: what the environment's parts write, in the order of time. From the containers, which have the newest lines of all
 * parts, also of one that has just died or cannot reach Kafka; and from the log store, which has what our processes wrote before.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { run } from '../../environment/children.ts';
import { type Container, containersOf, dockerArgs } from '../../environment/docker.ts';
import { throwIfInterrupted } from '../../environment/interruption.ts';
import { traceById } from '../../environment/jaeger.ts';
import { queryLogs } from '../../environment/log-store.ts';
import { aliasesOf } from '../../stacks/config/index.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { isTraceId } from '../../workers/views/jaeger.ts';
import { periodOf } from '../../workers/views/log-store.ts';
import { afterLast, type LogLine, mergeByTime, parseLine, showLine } from '../log-merge.ts';
import { isAskedFor, isCopy, type LogFilter, levels, lineOfRow, logsQl, momentOf } from '../log-query.ts';
import { colour, say, usage } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

interface Options {
  follow?: boolean;
  trace?: string;
  user?: string;
  level?: string;
  text?: string;
  since?: string;
  until?: string;
  tail: string;
  raw?: boolean;
}

export function addLogs(program: Command): void {
  addVerb<Options>(program, {
    usage: 'logs [component...]',
    description: 'logs of all or some components, merged by time',
    examples: [
      ['logs api promotion --follow', 'two workers, as it happens'],
      ['logs --since 10m --tail all', 'everything of the last ten minutes'],
      ['logs --trace 4bf92f3577b34da6a3ce929d0e0e4736', 'only lines of one trace'],
      ['logs --level warn --since 1h --text stock', 'warnings and errors that say so'],
      ['logs --user u_Jm3kq0ZbL5r1xkXw9tYd2A --since 2d', 'what happened to one user, by pseudonym'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('-f, --follow', 'go on as lines come')
        .option('--since <when>', 'begin here: 10m, 2h, 2026-11-21T10:00:00Z')
        .option('--until <when>', 'end here')
        .option('--user <pseudonym>', 'only lines that name this user')
        .option('--level <level>', `only this level and worse: ${levels.join(', ')}`)
        .option('--text <text>', 'only lines with this text, in either case')
        .option('--tail <lines>', 'newest lines of each component to begin with; all: every one', '50')
        .option('--trace <id>', 'only lines that name this trace; looks at the time of the trace only')
        .option('--raw', 'lines as they were written'),
    async run(context, options, components) {
      if (!/^(all|\d+)$/.test(options.tail))
        throw usage(`--tail takes a number or "all", not "${options.tail}".`);
      if (options.trace !== undefined && !isTraceId(options.trace))
        throw usage(`"${options.trace}" is no trace id: 32 hexadecimal digits are.`);
      if (options.level !== undefined && !levels.includes(options.level as never))
        throw usage(`--level takes one of ${levels.join(', ')}, not "${options.level}".`);
      const chosen = choose(await containersOf(context.environment, context.signal), components, context);
      const prefix = `${context.environment.prefix}-`;
      const shortName = ({ name }: Container) => name.replace(prefix, '');
      const names = chosen.map(shortName);
      const width = Math.max(...names.map((name) => name.length));
      let shown = 0;
      const print = (line: LogLine): void => {
        shown += 1;
        const index = names.indexOf(line.component);
        const text = options.raw === true ? line.text : showLine(line, { colour, width, index });
        say(text);
      };
      const nowMs = Date.now();
      const moment = (option: string, text: string | undefined) =>
        text === undefined ? undefined : momentOf(option, text, nowMs);
      const trace = options.trace === undefined ? undefined : await periodOfTrace(options.trace, context);
      const asked: Asked = {
        filter: picked(options),
        fromMs: moment('--since', options.since) ?? trace?.fromMs,
        toMs: moment('--until', options.until) ?? (options.follow === true ? undefined : trace?.toMs),
        // Of a trace, all of them.
        tail: options.trace !== undefined || options.tail === 'all' ? undefined : Number(options.tail),
      };
      const isStored = await storeAnswers(context);
      const lists = await Promise.all(
        chosen.map(async (container, index) => {
          const component = names[index]!;
          const stored =
            isStored && container.component === 'worker'
              ? await fromStore(component, asked, context)
              : nothing;
          const own = await fromContainer(container, component, asked, stored.toMs, context);
          // The container's own first: its time is the engine's.
          const lines = new Map([...own, ...stored.lines].reverse().map((line) => [line.text, line]));
          const merged = mergeByTime([[...lines.values()].reverse()]);
          return asked.tail === undefined ? merged : merged.slice(Math.max(0, merged.length - asked.tail));
        }),
      );
      for (const line of mergeByTime(lists)) print(line);
      if (options.follow === true) {
        const begin = lists.map((list) => afterLast(list) ?? new Date(nowMs).toISOString());
        await follow(chosen, names, begin, asked.filter, print, context);
      } else if (options.trace !== undefined && shown === 0)
        process.stderr.write(
          `No line of ${chosen.length} containers names this trace. Work that goes well is not logged, only traced: ./muster --env ${context.environment.name} trace ${options.trace}\n`,
        );
      return undefined;
    },
  });
}

/** What people ask for. */
interface Asked {
  readonly filter: LogFilter;
  readonly fromMs: number | undefined;
  readonly toMs: number | undefined;
  /** Newest lines of each component; undefined: all. */
  readonly tail: number | undefined;
}

const picked = ({ trace, user, level, text }: Options): LogFilter => ({
  ...(trace === undefined ? {} : { trace }),
  ...(user === undefined ? {} : { user }),
  ...(level === undefined ? {} : { level }),
  ...(text === undefined ? {} : { text }),
});

/** False (and said on stderr) when the log store cannot tell anything. */
async function storeAnswers({ environment, signal }: VerbContext): Promise<boolean> {
  try {
    await queryLogs(environment, '*', 1, signal);
    return true;
  } catch (error) {
    throwIfInterrupted(signal);
    process.stderr.write(`Only what the containers still have: ${(error as Error).message}\n`);
    return false;
  }
}

interface Stored {
  readonly lines: readonly LogLine[];
  /** Time of the newest line of the process, asked for or not; undefined: it has none. */
  readonly toMs: number | undefined;
}
const nothing: Stored = { lines: [], toMs: undefined };

async function fromStore(
  component: string,
  asked: Asked,
  { environment, signal }: VerbContext,
): Promise<Stored> {
  if (asked.tail === 0) return nothing;
  const ask = (query: string, newest: number | undefined) => queryLogs(environment, query, newest, signal);
  const [rows, last] = await Promise.all([
    ask(logsQl(component, asked.filter, asked), asked.tail),
    ask(logsQl(component, {}), 1),
  ]);
  return {
    lines: rows.flatMap((row) => lineOfRow(row) ?? []),
    toMs: last[0]?._time === undefined ? undefined : Date.parse(last[0]._time),
  };
}

/** Lines come to the store in about the order of time: what is older than its newest by more is there. */
const storeBehindMs = 60_000;

/** Lines that a container has written and that are asked for. */
async function fromContainer(
  container: Container,
  component: string,
  { filter, fromMs, toMs, tail }: Asked,
  storedToMs: number | undefined,
  { signal }: VerbContext,
): Promise<readonly LogLine[]> {
  const isFiltered = Object.keys(filter).length > 0;
  // What is filtered afterwards must be read first: then only what the store may not have.
  const since =
    isFiltered && storedToMs !== undefined ? Math.max(fromMs ?? 0, storedToMs - storeBehindMs) : fromMs;
  const args = [
    'logs',
    '--timestamps',
    ...(since === undefined ? [] : ['--since', new Date(since).toISOString()]),
    ...(toMs === undefined ? [] : ['--until', new Date(toMs).toISOString()]),
    ...(isFiltered || tail === undefined ? [] : ['--tail', String(tail)]),
  ];
  const { stdout, stderr } = await run('docker', dockerArgs(container, [...args, container.id]), { signal });
  return `${stdout}\n${stderr}`
    .split('\n')
    .flatMap((raw) => parseLine(component, raw) ?? [])
    .filter((line) => !isCopy(line) && isAskedFor(line, filter));
}

/** When the trace was going on; undefined (and said on stderr) when Jaeger cannot tell: then all lines are looked at. */
async function periodOfTrace(
  traceId: string,
  { environment, signal }: VerbContext,
): Promise<{ readonly fromMs: number; readonly toMs: number } | undefined> {
  try {
    return periodOf([await traceById(environment, traceId, signal)]);
  } catch (error) {
    throwIfInterrupted(signal);
    process.stderr.write(`Looking at all lines, which takes longer: ${(error as Error).message}\n`);
    return undefined;
  }
}

/** Containers by component, by name without the prefix, or by process: all its replicas. Throws MUSTER_USAGE, MUSTER_NOT_UP. */
function choose(
  all: readonly Container[],
  wanted: readonly string[],
  context: VerbContext,
): readonly Container[] {
  const { name, prefix } = context.environment;
  if (all.length === 0)
    throw new MusterError(
      'MUSTER_NOT_UP',
      `Environment ${name} has no containers. Start it: ./muster --env ${name} up.`,
    );
  const short = (container: Container) => container.name.replace(`${prefix}-`, '');
  for (const want of wanted) {
    if (all.some((container) => container.component === want || short(container) === want)) continue;
    const known = [...new Set(all.map(short))].join(', ');
    throw usage(`No component "${want}" in ${name}; there are: ${known}.`);
  }
  if (wanted.length === 0) return all;
  const names = wanted.flatMap((want) => [want, ...aliasesOf(context.environment, want)]);
  return all.filter((container) => names.includes(container.component) || names.includes(short(container)));
}

/** How long a line may wait for an older one of another container. */
const reorderMs = 250;
/** How often a container that has stopped is looked for. */
const againMs = 1_000;

/** Shows new lines as they come until it is interrupted, or until nothing that was chosen can write any more. */
async function follow(
  containers: readonly Container[],
  names: readonly string[],
  begin: readonly string[],
  filter: LogFilter,
  print: (line: LogLine) => void,
  { signal }: VerbContext,
): Promise<void> {
  let waiting: { line: LogLine; atMs: number }[] = [];
  const flush = (olderThanMs: number): void => {
    const due = waiting.filter(({ atMs }) => atMs <= olderThanMs);
    waiting = waiting.filter(({ atMs }) => atMs > olderThanMs);
    for (const line of mergeByTime([due.map(({ line }) => line)])) print(line);
  };
  const timer = setInterval(() => flush(Date.now() - reorderMs), 100);
  await Promise.all(
    containers.map(async (container, index) => {
      const component = names[index]!;
      let since = begin[index]!;
      let told = false;
      while (!signal.aborted) {
        // By name: the container that takes a removed one's place is followed as well.
        const args = ['logs', '--timestamps', '--follow', '--since', since, container.name];
        await followOne(dockerArgs(container, args), signal, (raw) => {
          const line = parseLine(component, raw);
          if (line === undefined) return;
          since = afterLast([line])!;
          told = false;
          if (!isCopy(line) && isAskedFor(line, filter)) waiting.push({ line, atMs: Date.now() });
        });
        if (container.oneShot || signal.aborted) return;
        if (!told)
          process.stderr.write(`${component} has stopped; its lines go on here when it runs again.\n`);
        told = true;
        await sleep(againMs, undefined, { signal }).catch(() => undefined);
      }
    }),
  );
  clearInterval(timer);
  flush(Number.POSITIVE_INFINITY);
}

/** Reads until the container ends. */
function followOne(
  args: readonly string[],
  signal: AbortSignal,
  onLine: (raw: string) => void,
): Promise<void> {
  const child = spawn('docker', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine);
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener('abort', stop);
      resolve();
    };
    child.once('close', end);
    child.once('error', end);
  });
}
