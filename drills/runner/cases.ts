/** What each of several cases in one drill has cost: what happened from its begin to that of the next is its own. Pure. */
import type { Finding } from '../checker/verdict.ts';
import type { CaseReport } from '../drill.ts';
import type { DeadLetter, Seen } from './judge.ts';
import type { Recovery } from './measure.ts';
import type { Start } from './observers.ts';

/** What is under way when something breaks fails with it. */
const beforeMs = 2_000;

/** Undefined of a drill that is one case. `findings` of which it is not known when their cause was sent are nobody's here. */
export function casesOf(
  { drill, disturbances, result }: Pick<Seen, 'drill' | 'disturbances' | 'result'>,
  seen: {
    readonly recoveries: readonly Recovery[];
    readonly restarts: readonly Start[];
    readonly deadLetters: readonly DeadLetter[];
    readonly findings: readonly Finding[];
  },
): readonly CaseReport[] | undefined {
  const begun = (drill.cases ?? []).flatMap(({ name, rtoMs }) => {
    const first = disturbances.find(({ of }) => of === name);
    return first === undefined ? [] : [{ name, wantedMs: rtoMs, beganAtMs: first.atMs }];
  });
  if (drill.cases === undefined) return undefined;
  return begun.map(({ name, wantedMs, beganAtMs }, index) => {
    const endedAtMs = (begun[index + 1]?.beganAtMs ?? Number.POSITIVE_INFINITY) - beforeMs;
    const isOwn = (atMs: number | undefined) =>
      atMs !== undefined && atMs >= beganAtMs - beforeMs && atMs < endedAtMs;
    const findings = seen.findings.filter(({ id }) => isOwn(result.sentAtMs.get(id)));
    const lost = findings.filter(({ kind }) => kind === 'lost').length;
    const wrong = findings.length - lost;
    const restarted = seen.restarts.filter(({ atMs }) => isOwn(atMs)).map(({ alias }) => alias);
    const deadLetters = seen.deadLetters.filter(({ atMs }) => isOwn(atMs)).length;
    const tookMs = Math.max(0, ...seen.recoveries.map(({ of, afterMs = 0 }) => (of === name ? afterMs : 0)));
    return {
      name,
      wantedMs,
      beganAtMs,
      rtoMs: tookMs === 0 ? undefined : tookMs,
      lost,
      wrong,
      restarted,
      deadLetters,
      passed: tookMs <= wantedMs && lost + wrong + restarted.length + deadLetters === 0,
    };
  });
}
