/** `./muster simulate`: the workers' decisions under thousands of seeded disasters, in virtual time. */
import type { Command } from 'commander';
import { scenarios } from '../../drills/simulation/scenarios.ts';
import { interrupted } from '../../environment/interruption.ts';
import { numberOf, say, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

interface Options {
  seeds: string;
  seed?: string;
  bug?: string;
  bugs?: boolean;
}

export function addSimulate(program: Command): void {
  const list = Object.entries(scenarios).map(([name, { about }]) => `  ${name.padEnd(10)} ${about}`);
  addVerb<Options>(program, {
    usage: 'simulate [scenario]',
    description: 'run workers in a simulated, hostile world: crashes, freezes, lost acks, repeated records',
    examples: [
      ['simulate', 'a thousand seeds of every scenario'],
      ['simulate promotion --seed 137', 'one seed again, with its diary'],
      ['simulate promotion --bugs', 'seed every known bug once and see that it is caught'],
    ],
    exits: ['failed'],
    configure: (command) =>
      command
        .option('--seeds <n>', 'how many seeds', '1000')
        .option('--seed <n>', 'only this one, with its diary')
        .option('--bug <name>', 'with this bug seeded')
        .option('--bugs', 'with each bug of the scenario seeded in turn: all must be caught')
        .addHelpText('after', `\nScenarios:\n${list.join('\n')}`),
    async run({ signal }, options, [wanted]) {
      const names = wanted === undefined ? Object.keys(scenarios) : [wanted];
      const count = numberOf('--seeds', options.seeds);
      let wrong = false;
      for (const name of names) {
        const scenario = scenarios[name];
        if (scenario === undefined)
          throw usage(`No scenario "${name}"; there are: ${Object.keys(scenarios).join(', ')}.`);
        if (options.bug !== undefined && !scenario.bugs.includes(options.bug))
          throw usage(
            `Scenario ${name} knows no bug "${options.bug}"; it knows: ${scenario.bugs.join(', ')}.`,
          );
        if (options.seed !== undefined) wrong = (await replay(name, options, signal)) || wrong;
        else if (options.bugs === true) wrong = (await everyBug(name, count, signal)) || wrong;
        else wrong = (await manySeeds(name, count, options.bug, signal)) || wrong;
        if (signal.aborted) throw interrupted();
      }
      return wrong ? 'failed' : undefined;
    },
  });
}

async function manySeeds(
  scenario: string,
  seeds: number,
  bug: string | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const { runSeeds } = await import('../../drills/simulation/seeds.ts');
  const live = process.stdout.isTTY;
  const report = await runSeeds({
    scenario,
    first: 1,
    seeds,
    stopAt: 5,
    signal,
    ...(bug === undefined ? {} : { bug }),
    onProgress({ seeds: done, failed }) {
      if (live) process.stdout.write(`\r\u001B[K${scenario}: ${done} of ${seeds} seeds, ${failed} failed`);
    },
  });
  if (live) process.stdout.write('\r\u001B[K');
  const perSecond = Math.round((report.seeds * 1000) / Math.max(1, report.tookMs));
  say(
    `${scenario}: ${report.seeds} seeds in ${(report.tookMs / 1000).toFixed(1)} s (${perSecond}/s), ${report.failures.length} failed`,
  );
  for (const { seed, digest, wrong } of report.failures) {
    say(`  seed ${seed} (${digest}): ${wrong.slice(0, 3).join('; ')}`);
    say(`    again: ./muster simulate ${scenario} --seed ${seed}${bug === undefined ? '' : ` --bug ${bug}`}`);
  }
  return report.failures.length > 0;
}

async function replay(scenario: string, options: Options, signal: AbortSignal): Promise<boolean> {
  const { runSeeds } = await import('../../drills/simulation/seeds.ts');
  const seed = numberOf('--seed', options.seed!);
  const report = await runSeeds({
    scenario,
    first: seed,
    seeds: 1,
    stopAt: 1,
    signal,
    ...(options.bug === undefined ? {} : { bug: options.bug }),
  });
  const [failure] = report.failures;
  if (failure === undefined) {
    say(`${scenario}: seed ${seed} is well`);
    return false;
  }
  for (const line of failure.diary) say(line);
  say(`\n${scenario}: seed ${seed} (${failure.digest}) went wrong:`);
  for (const wrong of failure.wrong) say(`  ${wrong}`);
  return true;
}

async function everyBug(scenario: string, seeds: number, signal: AbortSignal): Promise<boolean> {
  const { runSeeds } = await import('../../drills/simulation/seeds.ts');
  let missed = false;
  for (const bug of scenarios[scenario]!.bugs) {
    const report = await runSeeds({ scenario, bug, first: 1, seeds, stopAt: 1, signal });
    if (signal.aborted) return missed;
    const [failure] = report.failures;
    missed ||= failure === undefined;
    say(
      failure === undefined
        ? `✖ ${bug}: not caught by ${report.seeds} seeds`
        : `✔ ${bug}: caught by seed ${failure.seed}: ${failure.wrong[0]}`,
    );
  }
  return missed;
}
