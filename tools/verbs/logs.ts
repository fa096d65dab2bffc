/** `./muster logs`: what the environment's containers write, in the order of time. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { run } from '../../environment/children.ts';
import { type Container, containersOf, dockerArgs } from '../../environment/docker.ts';
import { throwIfInterrupted } from '../../environment/interruption.ts';
import { isTraceId, traceById } from '../../environment/jaeger.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { afterLast, belongsTo, type LogLine, mergeByTime, parseLine, showLine } from '../log-merge.ts';
import { colour, say, usage } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

interface Options {
  follow?: boolean;
  trace?: string;
  since?: string;
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
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('-f, --follow', 'go on as lines come')
        .option('--since <when>', 'begin here: 10m, 2h, 2026-11-21T10:00:00Z')
        .option('--tail <lines>', 'newest lines of each component to begin with; all: every one', '50')
        .option('--trace <id>', 'only lines that name this trace; looks at the time of the trace only')
        .option('--raw', 'lines as they were written'),
    async run(context, options, components) {
      if (!/^(all|\d+)$/.test(options.tail))
        throw usage(`--tail takes a number or "all", not "${options.tail}".`);
      if (options.trace !== undefined && !isTraceId(options.trace))
        throw usage(`"${options.trace}" is no trace id: 32 hexadecimal digits are.`);
      const chosen = choose(await containersOf(context.environment, context.signal), components, context);
      const prefix = `${context.environment.prefix}-`;
      const names = chosen.map(({ name }) => name.replace(prefix, ''));
      const width = Math.max(...names.map((name) => name.length));
      let shown = 0;
      const print = (line: LogLine): void => {
        if (options.trace !== undefined && !belongsTo(line, options.trace)) return;
        shown += 1;
        const index = names.indexOf(line.component);
        const text = options.raw === true ? line.text : showLine(line, { colour, width, index });
        say(text);
      };
      const period = options.trace === undefined ? undefined : await periodOf(options.trace, context);
      const since = options.since ?? period?.since;
      const until = options.follow === true ? undefined : period?.until;
      const args = [
        'logs',
        '--timestamps',
        ...(since === undefined ? [] : ['--since', since]),
        ...(until === undefined ? [] : ['--until', until]),
        ...(options.trace === undefined ? ['--tail', options.tail] : []),
      ];
      const startedAtMs = Date.now();
      const lists = await Promise.all(
        chosen.map(async (container, index) => {
          const { stdout, stderr } = await run('docker', dockerArgs(container, [...args, container.id]), {
            signal: context.signal,
          });
          return `${stdout}\n${stderr}`.split('\n').flatMap((raw) => parseLine(names[index]!, raw) ?? []);
        }),
      );
      for (const line of mergeByTime(lists)) print(line);
      if (options.follow === true) {
        const begin = lists.map((list) => afterLast(list) ?? new Date(startedAtMs).toISOString());
        await follow(chosen, names, begin, print, context);
      } else if (options.trace !== undefined && shown === 0)
        process.stderr.write(
          `No line of ${chosen.length} containers names this trace${period === undefined ? '' : ` between ${period.since} and ${period.until}`}. Work that goes well is not logged, only traced: ./muster --env ${context.environment.name} trace ${options.trace}\n`,
        );
      return undefined;
    },
  });
}

/** Lines may be written a little before a span begins and after it has ended. */
const traceMarginMs = { before: 2_000, after: 15_000 };

/** When the trace was going on; undefined (and said on stderr) when Jaeger cannot tell: then all lines are looked at. */
async function periodOf(
  traceId: string,
  { environment, signal }: VerbContext,
): Promise<{ readonly since: string; readonly until: string } | undefined> {
  try {
    const { spans } = await traceById(environment, traceId, signal);
    const from = Math.min(...spans.map(({ startTime }) => startTime)) / 1000;
    const to = Math.max(...spans.map(({ startTime, duration }) => startTime + duration)) / 1000;
    const text = (ms: number) => new Date(ms).toISOString();
    return { since: text(from - traceMarginMs.before), until: text(to + traceMarginMs.after) };
  } catch (error) {
    throwIfInterrupted(signal);
    process.stderr.write(`Looking at all lines, which takes longer: ${(error as Error).message}\n`);
    return undefined;
  }
}

/** Containers by component or by name without the prefix. Throws MUSTER_USAGE, MUSTER_NOT_UP. */
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
  return all.filter((container) => wanted.includes(container.component) || wanted.includes(short(container)));
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
          waiting.push({ line, atMs: Date.now() });
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
