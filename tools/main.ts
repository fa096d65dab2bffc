/** The code behind ./muster: verbs and global options. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { environments } from '../catalog/environments.ts';
import { describeExits, type Exit, exitCodes } from './exit-codes.ts';
import { runCommandLine } from './verb.ts';
import { addBackup } from './verbs/backup.ts';
import { addBench } from './verbs/bench.ts';
import { addCapacity } from './verbs/capacity.ts';
import { addCompletion } from './verbs/completion.ts';
import { addDashboards } from './verbs/dashboards.ts';
import { addDlq } from './verbs/dlq.ts';
import { addDoctor } from './verbs/doctor.ts';
import { addDown } from './verbs/down.ts';
import { addDrill } from './verbs/drill.ts';
import { addEnv } from './verbs/env.ts';
import { addFailover } from './verbs/failover.ts';
import { addLogs } from './verbs/logs.ts';
import { addMap } from './verbs/map.ts';
import { addOpen } from './verbs/open.ts';
import { addPlan } from './verbs/plan.ts';
import { addPromises } from './verbs/promises.ts';
import { addProveAlerts } from './verbs/prove-alerts.ts';
import { addReconcile } from './verbs/reconcile.ts';
import { addRender } from './verbs/render.ts';
import { addRestore } from './verbs/restore.ts';
import { addRollingRestart } from './verbs/rolling-restart.ts';
import { addSecrets } from './verbs/secrets.ts';
import { addSimulate } from './verbs/simulate.ts';
import { addStatus } from './verbs/status.ts';
import { addTest } from './verbs/test.ts';
import { addToken } from './verbs/token.ts';
import { addTopics } from './verbs/topics.ts';
import { addTrace } from './verbs/trace.ts';
import { addTraffic } from './verbs/traffic.ts';
import { addUp } from './verbs/up.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('./muster')
  .description('A Kafka message platform that proves its own promises.')
  .version(version, '--version', 'print the version')
  .addOption(new Option('--env <name>', 'environment').choices(Object.keys(environments)).default('dev'))
  .addOption(
    new Option(
      '--images <source>',
      'where images come from; without it: registry when the engine can pull, else build',
    ).choices(['registry', 'build']),
  )
  .option('--debug', 'show where an error comes from')
  .showHelpAfterError('(./muster --help lists the verbs, ./muster <verb> --help explains one)')
  .exitOverride()
  .addHelpText(
    'after',
    `\nFirst steps:\n  $ ./muster up\n  $ ./muster status\n\nExit codes:\n${describeExits(Object.keys(exitCodes) as Exit[])}`,
  );

/** In the order of `--help`. */
const verbs: Readonly<Record<string, readonly ((program: Command) => void)[]>> = {
  'An environment:': [addDoctor, addUp, addPlan, addDown, addStatus, addOpen, addToken, addSecrets],
  'What happens in it:': [addPromises, addLogs, addTrace, addMap, addDashboards, addDlq],
  'Keeping it:': [
    addTopics,
    addRollingRestart,
    addBackup,
    addRestore,
    addReconcile,
    addFailover,
    addCapacity,
  ],
  'Trying it:': [addTraffic, addDrill, addProveAlerts, addSimulate, addBench, addTest],
  'This checkout and your shell:': [addRender, addEnv, addCompletion],
};
for (const [group, adds] of Object.entries(verbs)) {
  program.commandsGroup(group);
  for (const add of adds) add(program);
}
program.helpCommand(true);

const argv = process.argv.slice(2);
await runCommandLine(program, argv.length === 0 ? ['--help'] : argv);
