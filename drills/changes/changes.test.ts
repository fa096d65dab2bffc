import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import { checkout } from '../../environment/paths.ts';
import type { ProcedureStage } from '../runner/stage.ts';
import { changes, type Kind, kindOf } from './changes.ts';
import { bringBackLeftovers, type Deployer, deployChange, withEditedCheckout } from './deploy.ts';

const run = promisify(execFile);
const { ci } = environments;

/** A hash of each container as a checkout would deploy it, by alias. */
async function containersOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await run(
    process.execPath,
    ['drills/changes/containers.fixture.ts', ci.name, 'registry'],
    {
      cwd: folder,
      env: { ...process.env, NODE_NO_WARNINGS: '1' },
    },
  );
  return JSON.parse(stdout) as Record<string, string>;
}

/** Asked for once. */
let original: ReturnType<typeof containersOf> | undefined;

for (const { name, what, deployments, replaces } of changes)
  test.serial(
    `${name}: a deployment with ${what} is one that replaces ${replaces.join(', ')}, and nothing else`,
    async (t) => {
      t.timeout(120_000);
      original ??= containersOf(checkout);
      const before = await original;
      const replaced = new Set<Kind>();
      for (const edits of deployments)
        await withEditedCheckout(edits, async (folder) => {
          const after = await containersOf(folder);
          for (const [alias, hash] of Object.entries(after))
            if (before[alias] !== hash) replaced.add(kindOf(alias, ci));
        });
      t.deepEqual([...replaced].sort(), [...replaces].sort());
    },
  );

test('containers are told apart by their aliases', (t) => {
  t.deepEqual(
    ['kafka-2', 'zookeeper-1', 'mysql-1', 'mysql-backup', 'api', 'topics', 'redis'].map((alias) =>
      kindOf(alias, ci),
    ),
    ['brokers', 'zookeepers', 'mysql', 'workers', 'workers', 'jobs', 'others'],
  );
});

/** A deployment that is told what to do at each `up`, and what containers there are then. */
function fakeDeployer(
  ups: readonly {
    readonly exitCode?: number;
    readonly said?: string;
    readonly replaces?: string;
    readonly lines?: readonly string[];
    run?(): void;
  }[],
) {
  const containers = new Map(['kafka-1', 'kafka-2', 'api', 'topics'].map((alias) => [alias, 'first']));
  const folders: string[] = [];
  const by: Deployer = {
    async up(folder, _environment, { signal, onLine }) {
      const { exitCode = 0, said = '', replaces, lines = [], run: act } = ups[folders.length] ?? {};
      folders.push(folder === checkout ? 'checkout' : 'changed');
      act?.();
      for (const line of lines) onLine?.(line);
      for (const alias of replaces?.split(' ') ?? []) containers.set(alias, `of up ${folders.length}`);
      return { exitCode: signal?.aborted === true ? 130 : exitCode, said };
    },
    containers: async () => new Map(containers),
    tidy: async () => {},
    quietMs: 0,
  };
  return { by, folders };
}

function stageOf(signal = new AbortController().signal) {
  const said: string[] = [];
  const say = (what: string) => said.push(what);
  return { said, stage: { environment: ci, signal, disturbed: say, note: say } as unknown as ProcedureStage };
}

/** A state folder of the test's own. */
async function stateOf(t: { teardown(end: () => Promise<void>): void }) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-changes-'));
  process.env.MUSTER_STATE_DIR = folder;
  await mkdir(join(folder, ci.name));
  t.teardown(() => rm(folder, { recursive: true }));
  return { isMarked: () => existsSync(join(folder, ci.name, 'changed-by-drill')) };
}

const named = (name: string) => changes.find((change) => change.name === name)!;

test.serial('a change is deployed from an edited copy, and then the checkout again', async (t) => {
  const { isMarked } = await stateOf(t);
  const lines = [
    'ci-kafka: rolling 1 of 3, kafka-1: replacing',
    'ci-kafka: rolling 2 of 3, kafka-2: waiting',
  ];
  const { by, folders } = fakeDeployer([{ replaces: 'kafka-1 kafka-2', lines }]);
  const { stage, said } = stageOf();
  await deployChange(named('change-broker-setting'), stage, by);
  t.deepEqual(folders, ['changed', 'checkout']);
  t.deepEqual(
    said.filter((line) => line.endsWith(' replaced')),
    ['kafka-1 replaced'],
  );
  t.false(isMarked());
});

test.serial(
  'a deployment that fails, or replaces what it has no reason to, fails the drill, and all is as before',
  async (t) => {
    const { isMarked } = await stateOf(t);
    for (const [up, message] of [
      [{ exitCode: 1, said: 'no disk' }, /ended with 1:\nno disk/],
      [{ replaces: 'kafka-1 api' }, /^api replaced by a change/],
    ] as const) {
      const { by, folders } = fakeDeployer([up]);
      await t.throwsAsync(deployChange(named('change-broker-setting'), stageOf().stage, by), { message });
      t.deepEqual(folders, ['changed', 'checkout']);
      t.false(isMarked());
    }
  },
);

test.serial('a change that cannot work has to be stopped at its first node', async (t) => {
  await stateOf(t);
  const stopped = { exitCode: 1, said: 'kafka-1 did not come up with the change; the others serve' };
  const change = named('change-bad-heap');
  const good = fakeDeployer([{ ...stopped, replaces: 'kafka-1' }]);
  await deployChange(change, stageOf().stage, good.by);
  t.deepEqual(good.folders, ['changed', 'checkout']);
  for (const up of [{ replaces: 'kafka-1' }, { exitCode: 1 }, { ...stopped, replaces: 'kafka-1 kafka-2' }])
    await t.throwsAsync(deployChange(change, stageOf().stage, fakeDeployer([up]).by), {
      code: 'MUSTER_DRILL_PROCEDURE',
    });
});

test.serial('ended in the middle it brings the environment back all the same', async (t) => {
  const { isMarked } = await stateOf(t);
  const ending = new AbortController();
  const { by, folders } = fakeDeployer([{ run: () => ending.abort(new Error('Ctrl-C')) }]);
  const { stage } = stageOf(ending.signal);
  await t.throwsAsync(deployChange(named('change-mysql-setting'), stage, by), { message: 'Ctrl-C' });
  t.deepEqual(folders, ['changed', 'checkout']);
  t.false(isMarked());
});

test.serial('what went wrong first is told, too, when the environment cannot be brought back', async (t) => {
  await stateOf(t);
  const { by, folders } = fakeDeployer([{ exitCode: 1, said: 'no space left' }, { exitCode: 69 }]);
  const error = await t.throwsAsync(deployChange(named('change-mysql-setting'), stageOf().stage, by), {
    code: 'MUSTER_CHANGE_LEFT',
    message: /up ended with 69[\s\S]*Before that: up ended with 1:\nno space left/,
  });
  t.like(error?.cause, { code: 'MUSTER_DRILL_PROCEDURE' });
  t.deepEqual(folders, ['changed', 'checkout']);
});

test.serial('what could not be brought back is brought back by the next drill, once', async (t) => {
  const { isMarked } = await stateOf(t);
  const failing = fakeDeployer([{}, { exitCode: 1 }, { exitCode: 1 }]);
  await t.throwsAsync(deployChange(named('change-mysql-setting'), stageOf().stage, failing.by), {
    code: 'MUSTER_CHANGE_LEFT',
  });
  t.true(isMarked());
  const told: string[] = [];
  const { by, folders } = fakeDeployer([]);
  await bringBackLeftovers(ci, (line) => told.push(line), by);
  await bringBackLeftovers(ci, (line) => told.push(line), by);
  t.deepEqual(folders, ['checkout']);
  t.regex(told.join('\n'), /another setting of MySQL/);
  t.false(isMarked());
});
