/**
 * The process that sends the load and takes the times goes before what it measures. Where a few cores carry everything it would
 * wait for those very processes, and what it waits would be taken for their outage: 7 of 10 s, seen on two full cores, a
 * priority of -10 no better. Customers are elsewhere, and wait for nobody here.
 */
import { readFile } from 'node:fs/promises';
import { run } from '../../environment/children.ts';

export interface Precedence {
  /** Share of the time since then in which this process was ready and had no processor; undefined where nobody counts it. */
  waited(): Promise<number | undefined>;
  /** Back to one among others. */
  end(): Promise<void>;
}

/** For this process and not its children, where the system lets it (Linux, as root); elsewhere it stays one among others. */
export async function takePrecedence(): Promise<Precedence> {
  const isGiven = await schedule(['--rr', '--reset-on-fork'], '1');
  const before = await readyForMs();
  const sinceMs = performance.now();
  return {
    async waited() {
      const now = await readyForMs();
      if (before === undefined || now === undefined) return undefined;
      return (now - before) / Math.max(1, performance.now() - sinceMs);
    },
    async end() {
      if (isGiven) await schedule(['--other'], '0');
    },
  };
}

/** Every thread that there is; --reset-on-fork keeps it from what these begin. */
const schedule = async (policy: readonly string[], priority: string): Promise<boolean> =>
  process.platform === 'linux' &&
  (await run('chrt', [...policy, '--all-tasks', '--pid', priority, String(process.pid)]).then(
    ({ exitCode }) => exitCode === 0,
    () => false,
  ));

/** How long the main thread has been ready without a processor: the second figure of schedstat, ns. */
async function readyForMs(): Promise<number | undefined> {
  const text = await readFile('/proc/self/schedstat', 'utf8').catch(() => '');
  const waitedNs = Number(text.split(' ')[1]);
  return Number.isFinite(waitedNs) ? waitedNs / 1e6 : undefined;
}
