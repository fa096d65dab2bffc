/** `./muster drill`: breaks parts of a deployed environment under load, and measures what that costs. */
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ListrTask } from 'listr2';
import type { DrillReport } from '../../drills/drill.ts';
import { checkout } from '../../environment/paths.ts';
import {
  caseTable,
  drillTable,
  inWords,
  listed,
  planTable,
  requestTable,
  summaryTable,
} from '../drill-tables.ts';
import { numberOf, paint, say, sayJson, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

interface Options {
  report?: string;
  minutes?: string;
  operations?: string;
  part?: string;
  seed?: string;
  yesReally?: boolean;
  json?: boolean;
}

export function addDrill(program: Command): void {
  addVerb<Options>(program, {
    usage: 'drill [name...]',
    description:
      'break something under load, heal it, and report RTO, RPO, detection and what checkers found',
    examples: [
      ['drill list', 'what there is'],
      ['--env ci drill broker-2-killed', 'one; the report is in build/drills/ci/'],
      ['--env ci drill all', 'all of them, about three quarters of an hour'],
      ['--env ci drill mysql-read-only-35s-odd', 'one case of the matrix by itself'],
      [
        '--env ci drill changes',
        'second deployments: what changes of the catalog cost those who use it; two hours',
      ],
      ['--env ci drill soak --minutes 60', 'a random fault each minute'],
      ['--env ci drill pay-operations --operations 20000', 'members of my-pay, with everything breaking'],
      ['--env ci drill matrix --seed 1', 'every two of part, fault, length and load meet once; 100 minutes'],
      ['--env ci drill matrix --seed 1 --part 2/4', 'the second quarter of it'],
      ['--env ci drill seeded-bugs', 'does the checker catch them? All, or those named after it'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--report <folder>', 'where reports go (default build/drills/<env>/<time>-<name>)')
        .option('--minutes <n>', 'soak: how long (default 60); matrix: as many of its cases as fit')
        .option('--operations <n>', 'pay-operations: how many at least (default 1000)')
        .option('--part <i/n>', 'matrix, soak, pay-operations: one of n parts, to be run one after the other')
        .option(
          '--seed <n>',
          'the same seed sends the same messages, and gives soak, pay-operations and matrix the same faults',
        )
        .option('--json', 'list: for programs')
        .option('--yes-really', 'needed for environment prod'),
    async run({ environment, signal }, options, names) {
      const [
        { changeDrills, deliveryCourseIn, drillNamed, drills, outagesIn, payOperations, soak },
        { matrixOf, partOf },
        { withFaults },
      ] = await Promise.all([
        import('../../drills/drills.ts'),
        import('../../drills/matrix/plan.ts'),
        import('../../drills/faults.ts'),
      ]);
      if (names.length === 0 || names[0] === 'list') {
        const all = [...drills, ...changeDrills, ...deliveryCourseIn(environment), ...outagesIn(environment)];
        if (options.json === true) sayJson(listed(all));
        else say(drillTable(all, paint));
        return undefined;
      }
      const seed = numberOf('--seed', options.seed ?? String(Date.now() % 2 ** 31));
      const session = {
        report: (line: string) => process.stderr.write(`${line}\n`),
        signal,
        reallyProd: options.yesReally === true,
      };
      if (names[0] === 'seeded-bugs') {
        const { seedBugs } = await import('../seeded-bugs.ts');
        return seedBugs(environment, { names: names.slice(1), seed, session });
      }
      const minutes = options.minutes === undefined ? undefined : numberOf('--minutes', options.minutes);
      const chosen = names.flatMap((name) => {
        if (name === 'all') return drills;
        if (name === 'changes') return changeDrills;
        if (name === 'outages') return outagesIn(environment);
        const part = partNumbers(options.part);
        if (name === 'soak') return partOf(soak(minutes ?? 60, seed, environment), ...part);
        if (name === 'pay-operations') {
          const operations = numberOf('--operations', options.operations ?? '1000');
          return partOf(payOperations(operations, seed, environment), ...part);
        }
        if (name !== 'matrix') return [drillNamed(name, environment)];
        const legs = partOf(matrixOf(seed, environment, minutes), ...part);
        say(`${planTable(legs, seed, paint)}\n`);
        return legs;
      });
      const reports: { readonly report: DrillReport; readonly folder: string }[] = [];
      const failures: unknown[] = [];
      try {
        await withFaults(environment, session, async (faults) => {
          const [{ runDrill }, { publishReport }, { taskList }, { bringBackLeftovers }] = await Promise.all([
            import('../../drills/runner/run.ts'),
            import('../../drills/report/publish.ts'),
            import('../lifecycle.ts'),
            import('../../drills/changes/deploy.ts'),
          ]);
          await bringBackLeftovers(environment, session.report);
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
                  const folder = folderOf(report, options.report, chosen.length > 1);
                  reports.push({ report, folder });
                  await publishReport(report, { folder, environment, signal });
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
        if (reports.length > 0)
          say(
            `\n${summaryTable(reports, paint)}${requestTable(reports, paint)}${caseTable(reports, environment, seed, paint)}`,
          );
      }
      // Listr keeps what goes wrong in a step to itself; a target that is missed is a result, this is none.
      signal.throwIfAborted();
      if (failures.length > 0) throw failures[0];
      return reports.every(({ report }) => report.passed) ? undefined : 'failed';
    },
  });
}

/** `2/4`: the second of four. */
function partNumbers(text = '1/1'): [i: number, n: number] {
  const [i = 0, n = 0] = /^\d+\/\d+$/.test(text) ? text.split('/').map(Number) : [];
  if (i < 1 || i > n) throw usage(`--part takes a part of all, as 2/4, not "${text}".`);
  return [i, n];
}

/** Where the report of a run goes. */
function folderOf(report: DrillReport, chosen: string | undefined, several: boolean): string {
  const time = new Date(report.startedAtMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  const own = `${time}-${report.drill}`;
  if (chosen === undefined) return join(checkout, 'build', 'drills', report.environment, own);
  return several ? resolve(chosen, own) : resolve(chosen);
}
