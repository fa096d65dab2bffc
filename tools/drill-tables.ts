/** What `./muster drill` prints: what there is, what a matrix will do, and what came of it. */
import { join } from 'node:path';
import type { Environment } from '../catalog/environments.ts';
import { type Paint, plainTable, tableText } from '../drawing/table.ts';
import { countByKind } from '../drills/checker/verdict.ts';
import type { Drill, DrillReport } from '../drills/drill.ts';

const seconds = (ms: number | undefined) => (ms === undefined ? 'none' : `${(ms / 1_000).toFixed(1)} s`);

function repeatsOf({ verdicts }: DrillReport): number {
  return verdicts.reduce((sum, { repeats }) => sum + repeats, 0);
}

export function inWords(report: DrillReport): string {
  const missed = report.targets.filter(({ met }) => !met);
  return `RTO ${seconds(report.rtoMs)}, ${report.rpo.lost} lost${missed.length === 0 ? '' : `; missed: ${missed.map(({ name, measured }) => `${name} (${measured})`).join(', ')}`}`;
}

/** Of each drill what somebody wants to know who chooses one. */
export const listed = (drills: readonly Drill[]) =>
  drills.map((drill) => ({
    name: drill.name,
    minutes: Math.ceil(lengthMs(drill) / 60_000),
    about: drill.about,
  }));

export function drillTable(drills: readonly Drill[], paint: Paint): string {
  const out = plainTable(['drill', 'takes about', 'what breaks, and what must not'], [1], paint);
  for (const { name, minutes, about } of listed(drills)) out.push([name, `${minutes} min`, about]);
  return tableText(out);
}

/** Load, or the wait for the last alert that has to come, and the steady state before and after it. */
function lengthMs({ loadMs, expect, steps }: Drill): number {
  const firstFaultMs = Math.min(...steps.map(({ atMs }) => atMs));
  const waitMs = Math.max(0, ...(expect.alerts ?? []).map(({ withinMs }) => firstFaultMs + withinMs));
  return Math.max(loadMs, waitMs) + 45_000;
}

export function summaryTable(
  reports: readonly { readonly report: DrillReport; readonly folder: string }[],
  paint: Paint,
): string {
  const head = ['', 'drill', 'RTO', 'RPO', 'detection', 'lost', 'repeats', 'findings', 'p99', 'verdict'];
  const out = plainTable(head, [2, 3, 4, 5, 6, 7, 8], paint);
  const details: string[] = [];
  for (const { report, folder } of reports) {
    const findings = report.verdicts.flatMap((verdict) => verdict.findings);
    out.push([
      report.passed ? paint('green', '✔') : paint('red', '✖'),
      report.drill,
      seconds(report.rtoMs),
      seconds(report.rpo.oldestLostAgeMs),
      seconds(report.detectionMs),
      report.rpo.lost,
      repeatsOf(report),
      [...countByKind(findings)].map(([kind, count]) => `${count} ${kind}`).join(', ') || '0',
      `${Math.round(report.latencyMs.p99)} ms`,
      report.passed
        ? 'as promised'
        : `missed: ${report.targets
            .filter(({ met }) => !met)
            .map(({ name }) => name)
            .join(', ')}`,
    ]);
    for (const { kind, id, detail, traceId } of findings.slice(0, 5))
      details.push(
        `  ${report.drill}: ${kind} ${id}: ${detail}${traceId === undefined ? '' : ` (trace ${traceId})`}`,
      );
    for (const { name, target, measured, met } of report.targets)
      if (!met) details.push(`  ${report.drill}: ${name} is ${measured}, must be ${target}`);
    details.push(paint('dim', `  ${join(folder, 'report.html')}`));
  }
  return [tableText(out), ...details].join('\n');
}

/** What clients saw of changes, by class and phase. */
export function requestTable(reports: readonly { readonly report: DrillReport }[], paint: Paint): string {
  const all = reports.flatMap(({ report }) =>
    (report.requests ?? []).map((count) => ({ drill: report.drill, ...count })),
  );
  if (all.length === 0) return '';
  const out = plainTable(
    ['drill', '', 'requests', 'sent', 'failed', 'why', 'p50', 'p99'],
    [3, 4, 6, 7],
    paint,
  );
  for (const { drill, phase, of, sent, failed, problems, p50Ms, p99Ms } of all)
    out.push([
      of === 'all' && phase === 'before' ? drill : '',
      of === 'all' ? phase : '',
      of,
      sent,
      failed === 0 ? 0 : paint('red', String(failed)),
      Object.entries(problems)
        .map(([problem, count]) => `${count} ${problem}`)
        .join(', '),
      `${Math.round(p50Ms)} ms`,
      `${Math.round(p99Ms)} ms`,
    ]);
  return `\n\n${tableText(out)}`;
}

/** What a matrix will do, with its minutes. */
export function planTable(legs: readonly Drill[], seed: number, paint: Paint): string {
  const out = plainTable(
    ['', 'minutes', 'beside what is in order', 'cases, one after the other'],
    [1],
    paint,
  );
  for (const leg of legs)
    for (const [index, { name }] of (leg.cases ?? []).entries())
      out.push(
        index === 0
          ? [leg.name, (lengthMs(leg) / 60_000).toFixed(1), leg.loads.foreign?.kinds ?? 'nothing', name]
          : ['', '', '', name],
      );
  const count = legs.reduce((sum, { cases = [] }) => sum + cases.length, 0);
  const minutes = legs.reduce((sum, leg) => sum + lengthMs(leg), 0) / 60_000;
  return `${tableText(out)}\n${count} cases in ${legs.length} loads, about ${Math.ceil(minutes)} minutes; seed ${seed}`;
}

/** Case by case, where drills have several; with the command that runs one again by itself. */
export function caseTable(
  reports: readonly { readonly report: DrillReport }[],
  environment: Environment,
  seed: number,
  paint: Paint,
): string {
  const all = reports.filter(({ report }) => report.cases !== undefined);
  if (all.length === 0) return '';
  const head = [
    '',
    'case',
    'RTO',
    'at most',
    'lost',
    'wrong',
    'restarts',
    'dead letters',
    'undecided',
    'owed',
  ];
  const out = plainTable(head, [2, 3, 4, 5, 6, 7, 8, 9], paint);
  const again: string[] = [];
  for (const { report } of all) {
    for (const { name, rtoMs, wantedMs, lost, wrong, restarted, deadLetters, passed } of report.cases!) {
      const mark = passed ? paint('green', '✔') : paint('red', '✖');
      const restarts = restarted.join(', ') || 0;
      out.push([mark, name, seconds(rtoMs), seconds(wantedMs), lost, wrong, restarts, deadLetters, '', '']);
      const known = name.replace(/^\d+ /, '');
      if (!passed) again.push(`  ./muster --env ${environment.name} drill ${known} --seed ${seed}`);
    }
    const findings = report.verdicts.flatMap((verdict) => verdict.findings);
    const lost = findings.filter(({ kind }) => kind === 'lost').length;
    out.push([
      report.passed ? paint('green', '✔') : paint('red', '✖'),
      paint('dim', `${report.drill}, all of it`),
      ...['', '', lost, findings.length - lost, '', ''],
      ...[report.undecided, report.deadLettersOwed],
    ]);
  }
  const commands = again.length === 0 ? '' : `\nagain, each by itself:\n${again.join('\n')}`;
  return `\n\n${tableText(out)}${commands}`;
}
