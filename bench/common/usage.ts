/** Who used the processors while something was measured: what limits it. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Environment } from '../../catalog/environments.ts';
import { containersOf, docker } from '../../environment/docker.ts';

export interface Usage {
  /** Busy and all time of the machine's processors, ms. */
  readonly busyMs: number;
  readonly allMs: number;
  /** Processor seconds of each container's first process, of the processes named, and of this one (`load`). */
  readonly seconds: ReadonlyMap<string, number>;
}

/** What was used up to now; `processes` of this machine are looked at beside the environment's containers. */
export async function usage(
  environment: Environment,
  processes: readonly { readonly name: string; readonly pid: number }[] = [],
): Promise<Usage> {
  const seconds = new Map<string, number>();
  const note = (name: string, pid: string) => {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      // Fields 14 and 15, counted in ticks of 10 ms.
      seconds.set(name, (Number(fields[11]) + Number(fields[12])) / 100);
    } catch {
      // No such process, or an engine in a machine of its own.
    }
  };
  for (const { id, name } of await containersOf(environment))
    note(
      name.replace(`${environment.prefix}-`, ''),
      (await docker(['inspect', '--format', '{{.State.Pid}}', id]).catch(() => '0')).trim(),
    );
  for (const { name, pid } of processes) note(name, String(pid));
  const own = process.cpuUsage();
  seconds.set('load', (own.user + own.system) / 1e6);
  const times = cpus().map((one) => one.times);
  const allMs = times.reduce(
    (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
    0,
  );
  return { busyMs: allMs - times.reduce((sum, { idle }) => sum + idle, 0), allMs, seconds };
}

/** How busy the machine was between two looks, and what each took of it per thing done, in microseconds. */
export function limits(before: Usage, after: Usage, done: number) {
  const used = [...after.seconds]
    .map(
      ([name, seconds]) =>
        [
          name,
          Math.round(((seconds - (before.seconds.get(name) ?? seconds)) / Math.max(1, done)) * 1e6),
        ] as const,
    )
    .filter(([, microseconds]) => microseconds >= 5)
    .sort(([, a], [, b]) => b - a);
  return {
    machineBusyShare: Math.round(((after.busyMs - before.busyMs) / (after.allMs - before.allMs)) * 100) / 100,
    processorMicrosecondsEach: Object.fromEntries(used),
  };
}
