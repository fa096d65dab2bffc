/** `./muster logs`: what the environment's containers write, in the order of time. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { MusterError } from '../../workers/platform/errors.ts';
import { run } from '../children.ts';
import { type Container, containersOf, dockerArgs } from '../docker.ts';
import { belongsTo, type LogLine, mergeByTime, parseLine, showLine } from '../log-merge.ts';
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
        .option('--trace <id>', 'only lines that name this trace (looks at all lines)')
        .option('--raw', 'lines as they were written'),
    async run(context, options, components) {
      if (!/^(all|\d+)$/.test(options.tail))
        throw new MusterError('MUSTER_USAGE', `--tail takes a number or "all", not "${options.tail}".`);
      const chosen = choose(await containersOf(context.environment, context.signal), components, context);
      const prefix = `${context.environment.prefix}-`;
      const names = chosen.map(({ name }) => name.replace(prefix, ''));
      const width = Math.max(...names.map((name) => name.length));
      const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;
      const print = (line: LogLine): void => {
        if (options.trace !== undefined && !belongsTo(line, options.trace)) return;
        const index = names.indexOf(line.component);
        const text = options.raw === true ? line.text : showLine(line, { colour, width, index });
        process.stdout.write(`${text}\n`);
      };
      const args = [
        'logs',
        '--timestamps',
        ...(options.since === undefined ? [] : ['--since', options.since]),
        ...(options.trace === undefined ? ['--tail', options.tail] : []),
      ];
      if (options.follow === true) await follow(chosen, names, args, print, context);
      else {
        const lists = await Promise.all(
          chosen.map(async (container, index) => {
            const { stdout, stderr } = await run('docker', dockerArgs(container, [...args, container.id]), {
              signal: context.signal,
            });
            return `${stdout}\n${stderr}`.split('\n').flatMap((raw) => parseLine(names[index]!, raw) ?? []);
          }),
        );
        for (const line of mergeByTime(lists)) print(line);
      }
      return undefined;
    },
  });
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
    throw new MusterError('MUSTER_USAGE', `No component "${want}" in ${name}; there are: ${known}.`);
  }
  if (wanted.length === 0) return all;
  return all.filter((container) => wanted.includes(container.component) || wanted.includes(short(container)));
}

/** How long a line may wait for an older one of another container. */
const reorderMs = 250;

async function follow(
  containers: readonly Container[],
  names: readonly string[],
  args: readonly string[],
  print: (line: LogLine) => void,
  context: VerbContext,
): Promise<void> {
  let waiting: { line: LogLine; atMs: number }[] = [];
  const flush = (olderThanMs: number): void => {
    const due = waiting.filter(({ atMs }) => atMs <= olderThanMs);
    waiting = waiting.filter(({ atMs }) => atMs > olderThanMs);
    for (const line of mergeByTime([due.map(({ line }) => line)])) print(line);
  };
  const timer = setInterval(() => flush(Date.now() - reorderMs), 100);
  const ends = containers.map((container, index) => {
    const child = spawn('docker', dockerArgs(container, [...args, '--follow', container.id]), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const stop = () => child.kill('SIGTERM');
    context.signal.addEventListener('abort', stop, { once: true });
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (raw) => {
        const line = parseLine(names[index]!, raw);
        if (line !== undefined) waiting.push({ line, atMs: Date.now() });
      });
    return new Promise<void>((resolve) => child.once('close', () => resolve()));
  });
  await Promise.all(ends);
  clearInterval(timer);
  flush(Number.POSITIVE_INFINITY);
}
