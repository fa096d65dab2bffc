/** `./muster drill seeded-bugs`: puts bugs into workers one after the other, and tells what the drills' checker says. */
import type { ListrTask } from 'listr2';
import type { Environment } from '../catalog/environments.ts';
import { type Paint, plainTable, tableText } from '../drawing/table.ts';
import { countByKind } from '../drills/checker/verdict.ts';
import { type FaultOptions, withFaults } from '../drills/faults.ts';
import { bugNamed, bugs, controls } from '../drills/seeded-bugs/bugs.ts';
import { type BugResult, runSeededBug } from '../drills/seeded-bugs/run.ts';
import { taskList } from './lifecycle.ts';

/** `failed` when one was not caught, or something was found where there is no bug. Throws what could not be run. */
export async function seedBugs(
  environment: Environment,
  options: {
    /** All when empty. */
    readonly names: readonly string[];
    readonly seed: number;
    readonly session: FaultOptions & { readonly signal: AbortSignal };
    readonly paint: Paint;
  },
): Promise<'failed' | undefined> {
  const { names, seed, session, paint } = options;
  const { signal } = session;
  const chosen = names.length === 0 ? [...controls, ...bugs] : names.map(bugNamed);
  const results: BugResult[] = [];
  const failures: unknown[] = [];
  try {
    await withFaults(environment, session, async (faults) => {
      const tasks = chosen.map(
        (bug): ListrTask => ({
          title: bug.name,
          async task(_context, task) {
            signal.throwIfAborted();
            const tell = (line: string) => {
              task.output = line;
            };
            let isKnown = false;
            try {
              const result = await runSeededBug(bug, { environment, faults, signal, seed, tell });
              results.push(result);
              isKnown = true;
              task.title = `${bug.name}: ${inWords(result)}`;
              if (!result.asExpected) throw new Error(task.title);
            } catch (error) {
              if (!isKnown) failures.push(error);
              throw error;
            }
          },
        }),
      );
      await taskList(tasks, { exitOnError: false }).run({});
    });
  } finally {
    if (results.length > 0) process.stdout.write(`\n${summary(results, paint)}\n`);
  }
  signal.throwIfAborted();
  if (failures.length > 0) throw failures[0];
  return results.every(({ asExpected }) => asExpected) ? undefined : 'failed';
}

function inWords({ bug, findings, asExpected }: BugResult): string {
  const counts = [...countByKind(findings)].map(([kind, count]) => `${count} ${kind}`).join(', ');
  if (bug.caughtAs.length === 0)
    return asExpected ? 'nothing found, rightly' : `found and not there: ${counts}`;
  return asExpected ? `caught: ${counts}` : `not caught: ${counts === '' ? 'nothing found' : counts}`;
}

function summary(results: readonly BugResult[], paint: Paint): string {
  const out = plainTable(['', 'bug', 'what is wrong', 'acked', 'the checker', 'first finding'], [3], paint);
  for (const result of results) {
    const { bug, acked, findings, asExpected } = result;
    const first = findings.find(({ kind }) => bug.caughtAs.includes(kind)) ?? findings[0];
    const trace = first?.traceId === undefined ? '' : ` (trace ${first.traceId})`;
    out.push([
      asExpected ? paint('green', '✔') : paint('red', '✖'),
      bug.name,
      bug.about,
      acked,
      inWords(result),
      first === undefined ? '' : `${first.kind} ${first.id}: ${first.detail}${trace}`,
    ]);
  }
  return tableText(out);
}
