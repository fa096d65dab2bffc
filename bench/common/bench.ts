/** What every benchmark does around its measuring: its own options, its words, the report, and room on the machine. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../../catalog/environments.ts';
import { docker } from '../../environment/docker.ts';
import { aliasesOf } from '../../stacks/config/index.ts';

export const root = join(import.meta.dirname, '../..');
/** Where reports and charts go. */
export const reportFolder = join(root, 'build/bench');

/** What `./muster bench` gives a benchmark. */
export interface BenchOptions {
  readonly environment: Environment;
  /** What waits looks at it: whoever stops a benchmark wants its processes gone and the deployed ones back, now. */
  readonly signal: AbortSignal;
  /** `--name=value`, or `--name` for a switch. */
  readonly args: readonly string[];
}

/** Reads options; `number` throws for what is no number above 0. */
export function optionsOf(args: readonly string[]): {
  setting(name: string): string | undefined;
  number(name: string, byDefault: number): number;
} {
  const setting = (name: string) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  return {
    setting,
    number(name, byDefault) {
      const value = Number(setting(name) ?? byDefault);
      if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} must be a number above 0`);
      return value;
    },
  };
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Which machine, which Node and when: a figure without them says nothing. */
export function context(): { readonly machine: string; readonly node: string; readonly at: string } {
  return {
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    node: process.version,
    at: new Date().toISOString(),
  };
}

/** Writes build/bench/<name>.json and prints it. */
export function writeReport(name: string, report: object): void {
  mkdirSync(reportFolder, { recursive: true });
  const file = join(reportFolder, `${name}.json`);
  const text = JSON.stringify(report, null, 2);
  writeFileSync(file, `${text}\n`);
  say(`\n${text}\n\nwritten to ${file}`);
}

/**
 * Stops deployed processes, so that only what is measured shares the machine; returns what starts them again. What does
 * not run is left alone. Neither is given up half-way: a container that is still stopping cannot be started.
 */
export async function stopDeployed(
  environment: Environment,
  processes: readonly string[],
): Promise<() => Promise<void>> {
  const running = (await docker(['ps', '--format', '{{.Names}}'])).split('\n');
  const names = processes
    .flatMap((process) => aliasesOf(environment, process))
    .map((alias) => `${environment.prefix}-${alias}`)
    .filter((name) => running.includes(name));
  if (names.length === 0) return async () => {};
  say(`stopping ${names.join(', ')} meanwhile`);
  await docker(['stop', ...names]);
  return async () => {
    await docker(['start', ...names]);
    say(`started ${names.join(', ')} again`);
  };
}
