/** `./muster prove-alerts`: makes alerts fire on the deployed environment and watches them arrive and end. */
import type { Command } from 'commander';
import type { ListrTask } from 'listr2';
import { plainTable, tableText } from '../../drawing/table.ts';
import type { CauseProven, Plan, Proven, Session, Step } from '../../drills/alerts/prove.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { paint, say, sayJson } from '../terminal.ts';
import { addVerb } from '../verb.ts';

interface Options {
  list?: boolean;
  quick?: boolean;
  json?: boolean;
}

export function addProveAlerts(program: Command): void {
  addVerb<Options>(program, {
    usage: 'prove-alerts [name...]',
    description:
      'cause what alerts watch for, wait until each arrives at its receiver, heal, wait for its end',
    examples: [
      ['prove-alerts --list', 'what is done for which alert, and what cannot be done'],
      ['prove-alerts --env ci --quick', 'the few that the tests prove, about five minutes'],
      ['prove-alerts BrokersMissing', 'one broker killed: exactly one page arrives'],
      [
        'prove-alerts',
        'all of them, an hour and a quarter: brokers, databases and workers are stopped meanwhile',
      ],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--list', 'only say what would be done')
        .option('--quick', 'the short proof')
        .option('--json', 'the result as data'),
    async run({ environment, signal }, options, names) {
      const [{ openSession, planProof }, { withFaults }] = await Promise.all([
        import('../../drills/alerts/prove.ts'),
        import('../../drills/faults.ts'),
      ]);
      const plan = planProof(environment, { names, quick: options.quick === true });
      if (options.list === true) {
        if (options.json === true) sayJson(listed(plan));
        else say(list(plan));
        return undefined;
      }
      const steps = [plan.alongside, ...plan.shared, ...plan.alone].flat();
      if (steps.length === 0)
        throw new MusterError(
          'MUSTER_PROOF_NONE',
          `None of these is caused on a running environment: ${plan.not.map(({ alert, reason }) => `${alert.name} (${reason})`).join(', ')}.`,
        );
      const results: CauseProven[] = [];
      const report = (line: string) => process.stderr.write(`${line}\n`);
      await withFaults(environment, { report, signal }, async (faults) => {
        const session = await openSession(environment, faults, signal);
        try {
          await sayWhatFires(steps, session, report);
          await runPlan(plan, session, results, options.json === true);
        } finally {
          await session.close();
        }
      });
      if (options.json === true) sayJson({ proven: results, not: listed(plan).not });
      else say(`\n${table(results, plan)}`);
      return results.every(({ ok }) => ok) ? undefined : 'failed';
    },
  });
}

/** An alert that fires already cannot be seen to begin: better known before an hour of waiting than after it. */
async function sayWhatFires(
  steps: readonly Step[],
  { look }: Session,
  report: (line: string) => void,
): Promise<void> {
  const wanted = new Set(steps.flatMap(({ alerts }) => alerts.map(({ alert }) => alert.name)));
  wanted.delete('Watchdog');
  const { held = [] } = await look();
  const firing = new Set(held.map(({ labels }) => labels.alertname ?? '').filter((name) => wanted.has(name)));
  if (firing.size > 0)
    report(
      `Fires already, from before: ${[...firing].sort().join(', ')}. What is caused now may not be seen there: Ctrl-C, wait for the end, and begin again.`,
    );
}

/** Progress on stdout, or with --json on nothing but the result. */
async function runPlan(plan: Plan, session: Session, results: CauseProven[], quiet: boolean): Promise<void> {
  const [{ proveCause }, { causes }, { taskList }] = await Promise.all([
    import('../../drills/alerts/prove.ts'),
    import('../../drills/alerts/causes.ts'),
    import('../lifecycle.ts'),
  ]);
  const live = process.stdout.isTTY === true;
  const failures: unknown[] = [];
  const prove: typeof proveCause = (...parameters) =>
    proveCause(...parameters).catch((error: unknown) => {
      failures.push(error);
      throw error;
    });
  const one = ({ cause, alerts }: Step): ListrTask => ({
    title: causes[cause].does,
    async task(_context, task) {
      let said = '';
      let saidAtMs = 0;
      const result = await prove(session, cause, alerts, (line) => {
        // In a log the seconds alone are no news.
        const news = line.replaceAll(/\d+ s/g, '');
        if (!live && news === said && Date.now() - saidAtMs < 30_000) return;
        said = news;
        saidAtMs = Date.now();
        task.output = line;
      });
      results.push(result);
      task.title = `${causes[cause].does}: ${result.alerts.map(words).join('; ')}`;
      if (!result.ok) throw new Error(problemOf(result));
    },
  });
  const waves = (list: Plan['shared'], title: string): ListrTask => ({
    title,
    enabled: list.length > 0,
    task: (_context, task) =>
      task.newListr(
        list.map((steps) =>
          steps.length === 1
            ? one(steps[0]!)
            : {
                title: `${steps.length} at once`,
                task: (_inner, wave) =>
                  wave.newListr(steps.map(one), { concurrent: true, exitOnError: false }),
              },
        ),
        { concurrent: false, exitOnError: false },
      ),
  });
  const tasks: ListrTask[] = [
    {
      title: 'beside each other',
      enabled: plan.alongside.length + plan.shared.length > 0,
      task: (_context, task) =>
        task.newListr([...plan.alongside.map(one), waves(plan.shared, 'one after the other')], {
          concurrent: true,
          exitOnError: false,
        }),
    },
    waves(plan.alone, 'alone'),
  ];
  await taskList(tasks, { exitOnError: false, silent: quiet }).run({});
  // Listr keeps what goes wrong in a step to itself; an alert that does not come is a result, this is none.
  session.signal.throwIfAborted();
  if (failures.length > 0) throw failures[0];
}

function words({ alert, seen, detectedAfterS, note }: Proven): string {
  return seen === undefined ? `${alert} ${note}` : `${alert} ${seen} after ${detectedAfterS} s`;
}

function problemOf({ alerts, pages, ok }: CauseProven): string {
  const wrong = alerts.filter((alert) => !alert.ok).map(({ alert, note }) => `${alert} ${note}`);
  if (!ok && wrong.length === 0)
    wrong.push(
      `${pages?.length ?? 0} pages arrived instead of one: ${pages?.map((page) => page.join('+')).join(', ')}`,
    );
  return wrong.join('; ');
}

function listed({ alongside, shared, alone, not }: Plan) {
  const steps = [alongside, ...shared, ...alone].flat();
  return {
    caused: steps.flatMap(({ cause, alerts }) => alerts.map(({ alert }) => ({ alert: alert.name, cause }))),
    not: not.map(({ alert, reason }) => ({ alert: alert.name, reason })),
  };
}

function list(plan: Plan): string {
  const out = plainTable(['alert', 'severity', 'caused by'], [], paint);
  for (const { alerts, cause } of [plan.alongside, ...plan.shared, ...plan.alone].flat())
    for (const { alert } of alerts) out.push([alert.name, alert.severity, cause]);
  return [tableText(out), notProven(plan)].filter((text) => text !== '').join('\n\n');
}

function notProven({ not }: Plan): string {
  if (not.length === 0) return '';
  const out = plainTable(['not caused on a running environment', 'because it'], [], paint);
  for (const { alert, reason } of not) out.push([alert.name, reason]);
  return tableText(out);
}

function table(results: readonly CauseProven[], plan: Plan): string {
  const out = plainTable(['', 'alert', 'cause', 'seen', 'detected', 'resolved', ''], [4, 5], paint);
  const took = (seconds: number | undefined) => (seconds === undefined ? '' : `${seconds.toFixed(1)} s`);
  for (const { alerts } of results)
    for (const { alert, cause, seen, detectedAfterS, resolvedAfterS, ok, note } of alerts)
      out.push([
        ok ? paint('green', '✔') : paint('red', '✖'),
        alert,
        cause,
        seen ?? '',
        took(detectedAfterS),
        took(resolvedAfterS),
        paint('dim', note),
      ]);
  const once = results.flatMap(({ cause, pages, heldBack }) =>
    pages === undefined
      ? []
      : [
          `${cause}: ${pages.length} page${pages.length === 1 ? '' : 's'} (${pages.map((page) => page.join(' + ')).join(', ')}); held back: ${heldBack.join(', ') || 'nothing'}`,
        ],
  );
  return [tableText(out), ...once, notProven(plan)].filter((text) => text !== '').join('\n\n');
}
