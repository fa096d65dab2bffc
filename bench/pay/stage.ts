/** Where my-pay is measured: members with money, a process that stands for `pay`, a client, and phases that are reported. */
import { readFileSync } from 'node:fs';
import { ensureSecrets } from '../../environment/secrets.ts';
import { hostVariables, secretsFile } from '../../environment/variables.ts';
import { pseudonym } from '../../workers/base/pseudonym.ts';
import { signToken } from '../../workers/http/tokens.ts';
import { type Client, openClient } from '../../workers/traffic/client.ts';
import { keepPace } from '../../workers/traffic/pace.ts';
import { type BenchOptions, optionsOf, reportFolder, say } from '../common/bench.ts';
import { balanced, fillAccounts } from '../common/books.ts';
import { openScratch, type Scratch } from '../common/scratch.ts';
import { limits, usage } from '../common/usage.ts';
import { type RunningWorker, startWorker } from '../common/worker.ts';

/** What was just started compiles its hot code; that is not what is asked here. */
const warmUpMs = 10_000;

export interface Stage {
  readonly members: readonly string[];
  readonly client: Client;
  readonly scratch: Scratch;
  readonly brokers: readonly string[];
  readonly signal: AbortSignal;
  measure(phase: Phase): Promise<void>;
  close(): Promise<void>;
}

export interface Phase {
  readonly name: string;
  /** A second; undefined: as fast as it goes. */
  readonly rate: number | undefined;
  ask(): Promise<void>;
  /** Waits until all that was asked has ended, and tells of what was asked since it was last called. */
  settle(): Promise<Record<string, unknown> & { readonly done: number }>;
}

/** `report` gets the figures of each phase. */
export async function openStage(options: BenchOptions, report: Record<string, unknown>): Promise<Stage> {
  const { environment, signal, args } = options;
  const { setting, number } = optionsOf(args);
  const clients = number('clients', 128);
  const seconds = number('seconds', 20);
  const members = Array.from({ length: number('members', 10_000) }, (_, n) => `bench-${n}`);
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const scratch = await openScratch(variables, 'pay', ['money', 'banking', 'remittance']);
  let pay: RunningWorker | undefined;
  try {
    say(`opening accounts for ${members.length} members`);
    const key = Buffer.from(secrets.pseudonymKey, 'hex');
    await fillAccounts(
      scratch.of('money'),
      members.map((member) => pseudonym(key, member)),
    );
    const token = { role: 'service', subject: 'pay', ttlMs: 3_600_000 } as const;
    pay = await startPay(options, {
      ...variables,
      MYSQL_DATABASE: scratch.name,
      TRACE_SAMPLE_RATIO: setting('trace-ratio') ?? '0.1',
      SERVICE_TOKEN: await signToken(secrets.tokenSigningKey, token),
    });
  } catch (error) {
    await scratch.drop();
    throw error;
  }
  const running = pay;
  const client = openClient({
    apiUrl: pay.url,
    token: variables.MUSTER_API_TOKEN!,
    connections: clients,
    signal,
  });

  async function drive({ rate, ask }: Phase, forMs: number): Promise<void> {
    const untilMs = performance.now() + forMs;
    const over = () => performance.now() >= untilMs || signal.aborted;
    await keepPace(ask, { rate, connections: clients, over });
  }

  return {
    members,
    client,
    scratch,
    brokers: variables.KAFKA_BROKERS!.split(','),
    signal,
    async measure(phase) {
      const { name, rate, settle } = phase;
      say(`${name}: ${rate === undefined ? 'as fast as it goes' : `${rate} a second`}, ${seconds} s`);
      await drive(phase, warmUpMs);
      await settle();
      const [before, worked] = [await usage(environment, [running]), await scratch.counters()];
      await drive(phase, seconds * 1_000);
      const figures = await settle();
      const [after, working] = [await usage(environment, [running]), await scratch.counters()];
      await balanced(scratch.of('money'));
      const each = (counter: string) => (working[counter]! - worked[counter]!) / Math.max(1, figures.done);
      const rounded = (counter: string) => Math.round(each(counter) * 100) / 100;
      report[name] = {
        ...figures,
        ...limits(before, after, figures.done),
        databaseEach: {
          statements: rounded('Questions'),
          commits: rounded('Com_commit'),
          flushes: rounded('Innodb_data_fsyncs'),
          redoBytes: Math.round(each('Innodb_os_log_written')),
        },
        payMiB: residentMiB(running.pid),
        problems: { ...client.problems },
      };
      say(JSON.stringify(report[name], null, 2));
    },
    async close() {
      await client.close();
      await running.stop();
      await scratch.drop();
    },
  };
}

/** As process `pay` is deployed, but for members: nobody joins here. */
function startPay(
  { environment, signal, args }: BenchOptions,
  env: Record<string, string>,
): Promise<RunningWorker> {
  const spec = environment.processes.list.find(({ name }) => name === 'pay')!;
  return startWorker({
    workers: ['remittance', 'money', 'money-recharges', 'banking'],
    nodeFlags: [
      `--max-old-space-size=${Math.floor(spec.size.memoryMiB * 0.6)}`,
      `--max-semi-space-size=${spec.semiSpaceMiB ?? 1}`,
      ...(args.includes('--profile') ? ['--cpu-prof', `--cpu-prof-dir=${reportFolder}`] : []),
    ],
    env: { ...spec.env, ...env },
    // Nothing here asks membership or banks.
    ownUrlAs: ['MONEY_URL', 'BANKING_URL', 'BANKS_URL', 'MEMBERSHIP_URL'],
    signal,
  });
}

function residentMiB(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1_024);
}
