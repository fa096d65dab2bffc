import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import { checkout } from '../../environment/paths.ts';
import { changes, type Kind, kindOf } from './changes.ts';
import { withEditedCheckout } from './deploy.ts';

const run = promisify(execFile);
const { ci } = environments;

/** A hash of each container as a checkout would deploy it, by alias. */
async function containersOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await run(process.execPath, ['drills/changes/containers.fixture.ts', ci.name, 'registry'], {
    cwd: folder,
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
  return JSON.parse(stdout) as Record<string, string>;
}

let original: ReturnType<typeof containersOf> | undefined;

for (const { name, what, deployments, replaces } of changes)
  test.serial(`${name}: a deployment with ${what} replaces ${replaces.join(', ')}, and nothing else`, async (t) => {
    t.timeout(120_000);
    const before = await (original ??= containersOf(checkout));
    const replaced = new Set<Kind>();
    for (const edits of deployments)
      await withEditedCheckout(edits, async (folder) => {
        const after = await containersOf(folder);
        for (const [alias, hash] of Object.entries(after))
          if (before[alias] !== hash) replaced.add(kindOf(alias, ci));
      });
    t.deepEqual([...replaced].sort(), [...replaces].sort());
  });

test('containers are told apart by their aliases', (t) => {
  t.deepEqual(
    ['kafka-2', 'zookeeper-1', 'mysql', 'mysql-backup', 'api', 'topics', 'redis'].map((alias) => kindOf(alias, ci)),
    ['brokers', 'zookeepers', 'mysql', 'workers', 'workers', 'jobs', 'others'],
  );
});
