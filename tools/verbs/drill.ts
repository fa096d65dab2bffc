/** `./muster drill`: breaks parts of a deployed environment under load, and measures what that costs. */
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ListrTask } from 'listr2';
import type { Environment } from '../../catalog/environments.ts';
import { type Paint, painter, plainTable, tableText } from '../../drawing/table.ts';
import { countByKind } from '../../drills/checker/verdict.ts';
import type { Drill, DrillReport } from '../../drills/drill.ts';
import { checkout } from '../../environment/paths.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { addVerb } from '../verb.ts';

interface Options {
  report?: string;
  minutes: string;
  seed?: string;
  yesReally?: boolean;
}

export function addDrill(program: Command): void {
  addVerb<Options>(program, {
    usage: 'drill [name...]',
    description:
      'break something under load, heal it, and report RTO, RPO, detection and what checkers found',
    examples: [
      ['drill list', 'what there is'],
      ['--env ci drill broker-2-killed', 'one; the report is in build/drills/ci/'],
      ['--env ci drill all', 'all of them, about forty minutes'],
      ['--env ci drill outages', 'Kafka, MySQL and Redis away for 5, 35 and 150 s, about an hour'],
      ['--env ci drill soak --minutes 60', 'a random fault each minute'],
      ['--env ci drill compare A B', 'two runs (folders, or the newest of a drill) beside each other'],
      ['--env ci drill seeded-bugs', 'does the checker catch them? All, or those named after it'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--report <folder>', 'where reports go (default build/drills/<env>/<time>-<name>)')
        .option('--minutes <n>', 'soak: how long', '60')
        .option('--seed <n>', 'the same seed sends the same messages, and gives a soak the same faults')
        .option('--yes-really', 'needed for environment prod'),
    async run({ environment, signal }, options, names) {
      const [{ drillNamed, drills, soak }, { outages }, { withFaults }] = await Promise.all([
        import('../../drills/drills.ts'),
        import('../../drills/outages.ts'),
        import('../../drills/faults.ts'),
      ]);
      const paint = painter(process.stdout.isTTY && process.env.NO_COLOR === undefined);
      if (names.length === 0 || names[0] === 'list') {
        process.stdout.write(`${list([...drills, ...outages], paint)}\n`);
        return undefined;
      }
      const history = historyOf(environment);
      if (names[0] === 'compare') {
        if (names.length !== 3) throw new MusterError('MUSTER_USAGE', 'drill compare takes two runs: A B.');
        const { comparisonTable, findRun } = await import('../../drills/report/compare.ts');
        const [before, after] = await Promise.all([findRun(names[1]!, history), findRun(names[2]!, history)]);
        process.stdout.write(`${comparisonTable(before, after, paint)}\n`);
        return undefined;
      }
      const seed = wholeNumber('--seed', options.seed ?? String(Date.now() % 2 ** 31));
      const session = {
        report: (line: string) => process.stderr.write(`${line}\n`),
        signal,
        reallyProd: options.yesReally === true,
      };
      if (names[0] === 'seeded-bugs') {
        const { seedBugs } = await import('../seeded-bugs.ts');
        return seedBugs(environment, { names: names.slice(1), seed, session, paint });
      }
      const minutes = wholeNumber('--minutes', options.minutes);
      const chosen = names.flatMap((name) =>
        name === 'all'
          ? drills
          : name === 'outages'
            ? outages
            : name === 'soak'
              ? soak(environment, minutes, seed)
              : [drillNamed(name)],
      );
      const reports: { readonly report: DrillReport; readonly folder: string }[] = [];
      const failures: unknown[] = [];
      try {
        await withFaults(environment, session, async (faults) => {
          const [{ runDrill }, { publishReport }, { taskList }] = await Promise.all([
            import('../../drills/runner/run.ts'),
            import('../../drills/report/publish.ts'),
            import('../lifecycle.ts'),
          ]);
          const tasks = chosen.map(
            (drill): ListrTask => ({
              title: drill.name,
              async task(_context, task) {
                signal.throwIfAborted();
                let missed = false;
                try {
                  const tell = (line: string) => {
                    task.output = line;
                  };
                  const report = await runDrill(drill, { environment, faults, signal, seed, tell });
                  const folder = folderOf(report, history, options.report, chosen.length > 1);
                  reports.push({ report, folder });
                  await publishReport(report, { folder, historyFolder: history, environment, signal });
                  task.title = `${drill.name}: ${inWords(report)}`;
                  missed = !report.passed;
                  if (missed) throw new Error(task.title);
                } catch (error) {
                  if (!missed) failures.push(error);
                  throw error;
                } finally {
                  await faults.healAll();
                }
              },
            }),
          );
          await taskList(tasks, { exitOnError: false }).run({});
        });
      } finally {
        if (reports.length > 0) process.stdout.write(`\n${summary(reports, paint)}\n`);
      }
      // Listr keeps what goes wrong in a step to itself; a target that is missed is a result, this is none.
      signal.throwIfAborted();
      if (failures.length > 0) throw failures[0];
      return reports.every(({ report }) => report.passed) ? undefined : 'failed';
    },
  });
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new MusterError('MUSTER_USAGE', `${name} takes a whole number above 0, not "${text}".`);
  return value;
}

function historyOf({ name }: Environment): string {
  return join(checkout, 'build', 'drills', name);
}

/** Where the report of a run goes. */
function folderOf(
  report: DrillReport,
  history: string,
  chosen: string | undefined,
  several: boolean,
): string {
  const time = new Date(report.startedAtMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  const own = `${time}-${report.drill}`;
  if (chosen === undefined) return join(history, own);
  return several ? resolve(chosen, own) : resolve(chosen);
}

const seconds = (ms: number | undefined) => (ms === undefined ? 'none' : `${(ms / 1_000).toFixed(1)} s`);

function repeatsOf({ verdicts }: DrillReport): number {
  return verdicts.reduce((sum, { repeats }) => sum + repeats, 0);
}

function inWords(report: DrillReport): string {
  const missed = report.targets.filter(({ met }) => !met);
  return `RTO ${seconds(report.rtoMs)}, ${report.rpo.lost} lost${missed.length === 0 ? '' : `; missed: ${missed.map(({ name, measured }) => `${name} (${measured})`).join(', ')}`}`;
}

function list(drills: readonly Drill[], paint: Paint): string {
  const out = plainTable(['drill', 'takes about', 'what breaks, and what must not'], [1], paint);
  for (const drill of drills)
    out.push([drill.name, `${Math.ceil(lengthMs(drill) / 60_000)} min`, drill.about]);
  return tableText(out);
}

/** Load, or the wait for the last alert that has to come, and the steady state before and after it. */
function lengthMs({ loadMs, expect, steps }: Drill): number {
  const firstFaultMs = Math.min(...steps.map(({ atMs }) => atMs));
  const waitMs = Math.max(0, ...(expect.alerts ?? []).map(({ withinMs }) => firstFaultMs + withinMs));
  return Math.max(loadMs, waitMs) + 45_000;
}

function summary(
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
