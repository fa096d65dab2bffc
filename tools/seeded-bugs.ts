/** `./muster drill seeded-bugs`: puts bugs into workers one after the other, and tells what the drills' checker says. */
import type { Environment } from '../catalog/environments.ts';
import { countByKind } from '../drills/checker/verdict.ts';
import { type FaultOptions, withFaults } from '../drills/faults.ts';
import { bugNamed, bugs, controls } from '../drills/seeded-bugs/bugs.ts';
import { type BugResult, runSeededBug } from '../drills/seeded-bugs/run.ts';

/** `failed` when one was not caught, or something was found where there is no bug. Throws what could not be run. */
export async function seedBugs(
  environment: Environment,
  options: {
    /** All when empty. */
    readonly names: readonly string[];
    readonly seed: number;
    readonly session: FaultOptions & { readonly signal: AbortSignal };
  },
): Promise<'failed' | undefined> {
  const { names, seed, session } = options;
  const { signal } = session;
  const chosen = names.length === 0 ? [...controls, ...bugs] : names.map(bugNamed);
  let missed = 0;
  await withFaults(environment, session, async (faults) => {
    for (const bug of chosen) {
      const result = await runSeededBug(bug, { environment, faults, signal, seed });
      if (!result.asExpected) missed += 1;
      process.stdout.write(
        `${result.asExpected ? '✔' : '✖'} ${bug.name} (${bug.about}): ${inWords(result)}\n`,
      );
    }
  });
  return missed === 0 ? undefined : 'failed';
}

function inWords({ bug, acked, findings }: BugResult): string {
  const counts = [...countByKind(findings)].map(([kind, count]) => `${count} ${kind}`).join(', ');
  const first = findings.find(({ kind }) => bug.caughtAs.includes(kind)) ?? findings[0];
  return first === undefined
    ? `nothing found, ${acked} acked`
    : `${counts}, ${acked} acked; ${first.kind} ${first.id}: ${first.detail}`;
}
