/** `./muster bench`: figures, with the machine and the load they were measured on. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { BenchOptions } from '../../bench/common/bench.ts';
import { MusterError } from '../../workers/platform/errors.ts';
import { checkout } from '../paths.ts';
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
    ],
    exits: ['failed', 'unavailable'],
    async run({ environment, signal }, _options, [name, ...args]) {
      const folder = join(checkout, 'bench');
      const names = (existsSync(folder) ? await readdir(folder) : [])
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .map((file) => file.slice(0, -3))
        .sort();
      if (name === undefined) {
        if (names.length === 0) process.stdout.write('There are no benchmarks yet.\n');
        for (const each of names) {
          const text = await readFile(join(folder, `${each}.ts`), 'utf8');
          const about = /\/\*\*\s*\n?\s*\*?\s*([^\n*]+)/.exec(text)?.[1]?.trim() ?? '';
          process.stdout.write(`${each.padEnd(16)} ${about}\n`);
        }
        return undefined;
      }
      if (!names.includes(name))
        throw new MusterError(
          'MUSTER_USAGE',
          `No benchmark "${name}"; there are: ${names.join(', ') || 'none'}.`,
        );
      const bench = (await import(join(folder, `${name}.ts`))) as Partial<Bench>;
      if (typeof bench.run !== 'function')
        throw new MusterError(
          'MUSTER_USAGE',
          `bench/${name}.ts exports no function "run", so it is no benchmark by itself.`,
        );
      await bench.run({ environment, signal, args });
      return undefined;
    },
  });
}
