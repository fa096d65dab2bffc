/** What changed from one run of a drill to another. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Paint, plainTable, tableText } from '../../drawing/table.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { DrillReport } from '../drill.ts';
import { type Run, readHistory, readReport } from './history.ts';
import { doubledOf, findingsOf, seconds, utc } from './page.ts';

export interface Change {
  readonly what: string;
  readonly before: string;
  readonly after: string;
  readonly judgement: 'better' | 'worse' | 'same' | 'differs';
}

/**
 * Times within a tenth of each other, or within what can be told apart, are the same; counts are not.
 * Nobody can say which is better when a page came that no target asks for. Pure.
 */
export function compareReports(before: DrillReport, after: DrillReport): readonly Change[] {
  const rank = ({ passed }: DrillReport) => (passed ? 0 : 1);
  const verdict = ({ passed }: DrillReport) => (passed ? 'passed' : 'failed');
  const countOf = (what: string, of: (report: DrillReport) => number): Change => ({
    what,
    before: String(of(before)),
    after: String(of(after)),
    judgement: judged(of(before), of(after), 0),
  });
  const timeOf = (what: string, toleranceMs: number, of: (report: DrillReport) => number): Change => ({
    what,
    before: milliseconds(of(before)),
    after: milliseconds(of(after)),
    judgement: judged(of(before), of(after), Math.max(toleranceMs, of(before) * 0.1)),
  });
  return [
    {
      what: 'verdict',
      before: verdict(before),
      after: verdict(after),
      judgement: judged(rank(before), rank(after), 0),
    },
    {
      what: 'RTO',
      before: seconds(before.rtoMs, 'no outage'),
      after: seconds(after.rtoMs, 'no outage'),
      judgement: judged(before.rtoMs ?? 0, after.rtoMs ?? 0, Math.max(250, (before.rtoMs ?? 0) * 0.1)),
    },
    {
      what: 'detection',
      before: seconds(before.detectionMs, 'no page'),
      after: seconds(after.detectionMs, 'no page'),
      judgement: detection(before, after),
    },
    countOf('lost', ({ rpo }) => rpo.lost),
    countOf('duplicates', doubledOf),
    countOf('findings', findingsOf),
    countOf('failed for good', ({ failed }) => failed),
    timeOf('p50', 10, ({ latencyMs }) => latencyMs.p50),
    timeOf('p99', 10, ({ latencyMs }) => latencyMs.p99),
    timeOf('slowest', 50, ({ latencyMs }) => latencyMs.max),
  ];
}

/** Prometheus evaluates, and Alertmanager groups, at intervals: less apart is chance. */
const detectionToleranceMs = 5_000;

function detection(before: DrillReport, after: DrillReport): Change['judgement'] {
  const [was, is] = [before.detectionMs, after.detectionMs];
  if (was === is) return 'same';
  const expected = after.targets.some(({ name }) => name.startsWith('alert '));
  if (is === undefined) return expected ? 'worse' : 'differs';
  if (was === undefined) return expected ? 'better' : 'differs';
  return judged(was, is, Math.max(detectionToleranceMs, was * 0.1));
}

/** Less is better. */
function judged(before: number, after: number, tolerance: number): Change['judgement'] {
  if (Math.abs(after - before) <= tolerance) return 'same';
  return after < before ? 'better' : 'worse';
}

const milliseconds = (ms: number): string => `${Math.round(ms)} ms`;

/**
 * Finds a run: a folder with a report.json, the name of one in `historyFolder`, or the name of a drill, whose newest run
 * is taken. Throws MUSTER_USAGE when there is none, MUSTER_DRILL_REPORT when its report cannot be read.
 */
export async function findRun(name: string, historyFolder: string): Promise<Run> {
  for (const folder of [resolve(name), join(historyFolder, name)])
    if (existsSync(join(folder, 'report.json'))) return { folder, report: await readReport(folder) };
  const { runs } = await readHistory(historyFolder);
  const newest = runs.findLast(({ report }) => report.drill === name);
  if (newest !== undefined) return { folder: join(historyFolder, newest.folder), report: newest.report };
  const known = [...new Set(runs.map(({ report }) => report.drill))];
  throw new MusterError(
    'MUSTER_USAGE',
    `No run "${name}" in ${historyFolder}. Name a folder, one of its runs, or a drill that has run: ${known.join(', ') || 'none has yet'}.`,
  );
}

const looks = {
  better: ['green', '▲ better'],
  worse: ['red', '▼ worse'],
  same: ['dim', '= same'],
  differs: ['yellow', '≠ differs'],
} as const;

/** The comparison as a table, and below it what else is not the same (commit, machine, versions, load). */
export function comparisonTable(before: Run, after: Run, paint: Paint): string {
  const head = ['', `A: ${before.report.drill}`, `B: ${after.report.drill}`, 'B is'];
  const out = plainTable(head, [1, 2], paint);
  const [a, b] = [before.report, after.report];
  out.push(['started', utc(a.startedAtMs), utc(b.startedAtMs), '']);
  for (const { what, before: was, after: is, judgement } of compareReports(a, b)) {
    const [color, text] = looks[judgement];
    out.push([what, was, is, paint(color, text)]);
  }
  const names = new Set([...Object.keys(a.context), ...Object.keys(b.context)]);
  const different = [
    ['drill', a.drill, b.drill] as const,
    ['environment', a.environment, b.environment] as const,
    ['sent', String(a.sent), String(b.sent)] as const,
    ...[...names].map((name) => [name, a.context[name] ?? 'unknown', b.context[name] ?? 'unknown'] as const),
  ].filter(([, was, is]) => was !== is);
  const notes = different.map(([name, was, is]) => `  ${name}: ${was} -> ${is}`);
  return [
    tableText(out),
    ...(notes.length === 0 ? [] : [paint('dim', 'Not the same in both:'), ...notes]),
  ].join('\n');
}
