/** `./muster test`: everything that can be checked, and nothing left behind. */
import { Argument, type Command } from 'commander';
import { type Environment, environments } from '../../catalog/environments.ts';
import { say } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

const suites = ['all', 'unit', 'integration', 'e2e'] as const;
type Suite = (typeof suites)[number];

interface Options {
  keep?: boolean;
  match?: string;
}

export function addTest(program: Command): void {
  addVerb<Options>(program, {
    usage: 'test',
    description: 'static checks and unit tests; integration and end-to-end tests on environment ci',
    examples: [
      ['test', 'everything; ends with "N passed, N failed"'],
      ['test unit', 'without any container'],
      ["test e2e --match '*killed*' --keep", 'some, and leave environment ci running'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .addArgument(new Argument('[suite]', 'which tests').choices([...suites]).default('all'))
        .option('--keep', 'leave environment ci up')
        .option('--match <pattern>', 'only tests whose title matches; * stands for anything'),
    async run(context, options, [chosen = 'all']) {
      const suite = chosen as Suite;
      const { Score } = await import('../suites.ts');
      const score = new Score();
      const startedAt = performance.now();
      try {
        if (suite === 'all' || suite === 'unit') await unit(score, context, options);
        if (suite !== 'unit') {
          const { alone } = await import('../lifecycle.ts');
          await alone(environments.ci, context.signal, () => deployed(score, suite, context, options));
        }
      } finally {
        if (score.unsteady.length > 0) {
          say('\nPassed at the second try only (a bug; please report it):');
          for (const title of score.unsteady) say(`  ! ${title}`);
        }
        if (score.failures.length > 0) {
          say('\nFailed:');
          for (const title of score.failures) say(`  ✖ ${title}`);
        }
        const minutes = (performance.now() - startedAt) / 60_000;
        say(`\n${minutes.toFixed(1)} min\n${score.passed} passed, ${score.failed} failed`);
      }
      return score.failed > 0 || score.passed === 0 ? 'failed' : undefined;
    },
  });
}

type Score = InstanceType<typeof import('../suites.ts').Score>;

async function unit(score: Score, { signal }: VerbContext, options: Options): Promise<void> {
  const { runAva, staticChecks, testFiles } = await import('../suites.ts');
  say('Static checks');
  if (options.match === undefined) await staticChecks(score, signal);
  say('\nUnit tests');
  await runAva(score, await testFiles('unit'), { signal, match: options.match });
}

/** Integration and end-to-end tests on environment `ci`, which is left as it was found. */
async function deployed(
  score: Score,
  suite: Exclude<Suite, 'unit'>,
  context: VerbContext,
  options: Options,
): Promise<void> {
  const { signal } = context;
  const environment: Environment = environments.ci;
  const [{ check, phasesOf, runAvaTwice }, lifecycle, docker, engine, variables, secrets] = await Promise.all(
    [
      import('../suites.ts'),
      import('../lifecycle.ts'),
      import('../../environment/docker.ts'),
      import('../engine.ts'),
      import('../../environment/variables.ts'),
      import('../../environment/secrets.ts'),
    ],
  );
  const wasUp =
    (await docker.engineAnswers()) &&
    (await docker.containersOf(environment)).some(({ state }) => state === 'running');
  say(`\nEnvironment ci${wasUp ? ' (was up already: it stays up)' : ''}`);
  try {
    const up = await check(score, 'environment ci comes up', async () => {
      try {
        await lifecycle.bringUp(environment, { images: context.images, takesOver: false, signal });
        return undefined;
      } catch (error) {
        if (signal.aborted) throw error;
        return error instanceof Error ? error.message : String(error);
      }
    });
    if (!up) return;
    const { secrets: values } = await secrets.ensureSecrets(variables.secretsFile(environment));
    const env = await variables.hostVariables(environment, values);
    for (const { title, lanes } of await phasesOf(suite)) {
      say(`\n${title}`);
      await runAvaTwice(score, lanes, { signal, match: options.match, env, serial: true });
    }
  } finally {
    if (!wasUp && options.keep !== true) {
      say('\nCleaning up');
      await check(score, 'nothing of environment ci is left', () => cleanUp(environment));
      const stopped = await engine.stopEngineWeStarted();
      if (stopped === 'stopped') say('  stopped the engine that muster had started');
    }
  }

  /** Goes on after a Ctrl-C: its own signal is never aborted. */
  async function cleanUp(of: Environment): Promise<string | undefined> {
    if (!(await docker.engineAnswers())) return undefined;
    try {
      const unstoppable = new AbortController().signal;
      await lifecycle.takeDown(of, { volumes: true, inbox: true, takesOver: false, signal: unstoppable });
      const left = (await docker.leftoversOf(of)).flatMap(({ containers, networks, volumes }) => [
        ...containers,
        ...networks,
        ...volumes,
      ]);
      return left.length === 0 ? undefined : `still there: ${left.join(', ')}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
