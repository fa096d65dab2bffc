/** `./muster bench`: figures, with the machine and the load they were measured on. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { BenchOptions } from '../../bench/common/bench.ts';
import { checkout } from '../../environment/paths.ts';
import { say, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

/** What a file of bench/ exports. */
export interface Bench {
  run(options: BenchOptions): Promise<void>;
}

export function addBench(program: Command): void {
  addVerb(program, {
    usage: 'bench [name] [args...]',
    description: 'run a benchmark of bench/; without a name, list them',
    examples: [
      ['bench', 'which there are'],
      ['bench promotion', 'latency at 200/s, drain, and highest sustained rate of the promotion join'],
      ['bench promotion -- --only=latency', "a benchmark's own options come after --"],
      ['bench promotion -- --help', 'what it measures, and its options'],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    async run({ environment, signal }, _options, [name, ...args]) {
      const folder = join(checkout, 'bench');
      const names = (existsSync(folder) ? await readdir(folder) : [])
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .map((file) => file.slice(0, -3))
        .sort();
      if (name === undefined) {
        if (names.length === 0) say('There are no benchmarks yet.');
        for (const each of names) {
          const [about] = (await wordsOf(join(folder, `${each}.ts`))).split('\n');
          say(`${each.padEnd(16)} ${about}`);
        }
        return undefined;
      }
      if (!names.includes(name))
        throw usage(`No benchmark "${name}"; there are: ${names.join(', ') || 'none'}.`);
      const words = await wordsOf(join(folder, `${name}.ts`));
      if (args.some((arg) => arg === '--help' || arg === '-h')) {
        say(words);
        return undefined;
      }
      const known = new Set(words.match(/--[a-z-]+/g));
      const unknown = args.find((arg) => !known.has(arg.split('=')[0]!));
      if (unknown !== undefined)
        throw usage(
          `${name} has no option "${unknown}"; ./muster bench ${name} -- --help says which it has.`,
        );
      const bench = (await import(join(folder, `${name}.ts`))) as Partial<Bench>;
      if (typeof bench.run !== 'function')
        throw usage(`bench/${name}.ts exports no function "run", so it is no benchmark by itself.`);
      await bench.run({ environment, signal, args });
      return undefined;
    },
  });
}

/** The comment at the top of a benchmark: what it measures, and its options. */
async function wordsOf(file: string): Promise<string> {
  const [, comment = ''] = /^\/\*\*\s*([\s\S]*?)\s*\*\//.exec(await readFile(file, 'utf8')) ?? [];
  return comment.replace(/^ \* ?/gm, '');
}
