/** Terraform's state in a real PostgreSQL: who deploys from elsewhere finds it, one at a time, and only with the same secrets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { App } from 'cdktf';
import { execa } from 'execa';
import { type Environment, environments } from '../catalog/environments.ts';
import { secretsToShow } from '../stacks/config/secrets.ts';
import { EnvironmentStack } from '../stacks/constructs/environment-stack.ts';
import { needProgram } from './programs.ts';
import { resourcesInState, whileLocked } from './state.ts';
import { applyStack, planIsEmpty, type StackInfo } from './terraform.ts';

test.beforeEach((t) => t.timeout(120_000));

const password = 'only-who-asks-knows-it';
const { signal } = new AbortController();
let folder: string;
let server: ChildProcess;
let environment: Environment;

/** As another machine would have it: a state folder of its own. */
const at = (operator: string) => {
  process.env.MUSTER_STATE_DIR = join(folder, operator);
};

/** A stack as it is synthesised, without the provider that it has nothing for. */
async function stackOf(operator: string, pseudonymKey = 'a'): Promise<StackInfo> {
  const out = join(folder, operator, 'synthesised');
  const app = new App({ outdir: out });
  const settings = {
    environment,
    secrets: { ...secretsToShow, pseudonymKey },
    stateDirectory: join(folder, operator, 'prod'),
    mayReplace: () => false,
  };
  new EnvironmentStack(app, 'prod-kafka', { settings: settings as never });
  app.synth();
  const stack: StackInfo = { name: 'prod-kafka', folder: join(out, 'stacks/prod-kafka'), dependencies: [] };
  const file = join(stack.folder, 'cdk.tf.json');
  const config = JSON.parse(await readFile(file, 'utf8'));
  delete config.terraform.required_providers;
  await writeFile(file, JSON.stringify(config));
  return stack;
}

test.before(async () => {
  // Debian keeps the programs of the server apart by version, and this one, which knows where, among all others.
  await needProgram(['pg_ctlcluster'], ['postgresql'], 'Debian: apt-get install postgresql.', () => {});
  const versions = '/usr/lib/postgresql';
  const [version = ''] = (await readdir(versions)).sort((a, b) => Number(b) - Number(a));
  const program = (name: string) => join(versions, version, 'bin', name);
  folder = await mkdtemp(join(tmpdir(), 'muster-shared-'));
  const home = join(folder, 'server');
  await mkdir(home);
  // It refuses to run as root.
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  if (nobody.uid !== undefined) {
    await chown(folder, nobody.uid, nobody.gid);
    await chown(home, nobody.uid, nobody.gid);
  }
  const data = join(home, 'data');
  const secret = join(folder, 'password');
  await writeFile(secret, password);
  const user = ['--username=muster', '--auth=scram-sha-256', `--pwfile=${secret}`];
  await execa(program('initdb'), ['--no-sync', `--pgdata=${data}`, ...user], nobody);
  await rm(secret);
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as { port: number };
  free.close();
  const settings = ['-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'];
  server = spawn(program('postgres'), ['-D', data, '-k', home, '-p', String(port), ...settings], {
    ...nobody,
    stdio: 'ignore',
  });
  Object.assign(process.env, { PGUSER: 'muster', PGPASSWORD: password });
  const made = () =>
    execa(
      program('psql'),
      ['-h', '127.0.0.1', '-p', String(port), '-d', 'postgres', '-c', 'create database muster'],
      {
        reject: false,
      },
    );
  for (let tries = 0; (await made()).exitCode !== 0; tries += 1) {
    if (tries === 100) throw new Error('PostgreSQL does not start');
    await sleep(100);
  }
  const stateDatabase = `postgres://127.0.0.1:${port}/muster?sslmode=disable`;
  environment = { ...environments.prod, stateDatabase };
});

test.after.always(async () => {
  server?.kill('SIGINT');
  if (server !== undefined && server.exitCode === null) await once(server, 'exit');
  if (folder !== undefined) await rm(folder, { recursive: true });
});

test.serial('what one has deployed another one finds, with nothing left to do', async (t) => {
  at('one');
  t.deepEqual(await resourcesInState(environment, 'prod-kafka'), []);
  await whileLocked(environment, async () => applyStack(await stackOf('one'), {}, signal, () => {}));
  at('two');
  const [found] = await resourcesInState(environment, 'prod-kafka');
  t.like(found, { type: 'terraform_data', name: 'secrets' });
  t.true(await planIsEmpty(await stackOf('two'), {}, signal));
  t.deepEqual(await resourcesInState(environment, 'prod-services'), [], 'each stack has a state of its own');
});

test.serial('who has other secrets is refused by Terraform itself', async (t) => {
  const refused = await t.throwsAsync(
    applyStack(await stackOf('two', 'b'), {}, signal, () => {}),
    {
      code: 'MUSTER_DEPLOY',
    },
  );
  t.regex(refused.message, /Instance cannot be destroyed/);
});

test.serial('of two at once the second is refused, until the first has ended', async (t) => {
  const done: string[] = [];
  at('one');
  await whileLocked(environment, async () => {
    at('two');
    const refused = await t.throwsAsync(
      whileLocked(environment, async () => {
        done.push('both');
      }),
      { code: 'MUSTER_STATE_LOCKED' },
    );
    t.regex(refused.message, /Somebody else works on environment prod/);
    done.push('one');
  });
  await whileLocked(environment, async () => {
    done.push('two');
  });
  t.deepEqual(done, ['one', 'two']);
});

test.serial('who is killed holds nobody up', async (t) => {
  at('one');
  const program = `
    import { whileLocked } from ${JSON.stringify(new URL('state.ts', import.meta.url).href)};
    await whileLocked(${JSON.stringify(environment)}, async () => {
      console.log('held');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  const first = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.is(String((await once(first.stdout, 'data'))[0]).trim(), 'held');
  at('two');
  const go = async () => 'mine';
  await t.throwsAsync(whileLocked(environment, go), { code: 'MUSTER_STATE_LOCKED' });
  first.kill('SIGKILL');
  for (let tries = 0; ; tries += 1) {
    const got = await whileLocked(environment, go).catch((error: { code: string }) => error.code);
    if (got === 'mine' || tries === 20) {
      t.is(got, 'mine');
      break;
    }
    await sleep(200);
  }
});

test.serial('the password is in no file, and without it the sentence says what to set', async (t) => {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && !entry.parentPath.startsWith(join(folder, 'server')))
      t.false((await readFile(join(entry.parentPath, entry.name))).includes(password), entry.name);
  process.env.PGPASSWORD = 'another';
  t.teardown(() => {
    process.env.PGPASSWORD = password;
  });
  for (const operator of ['two', 'three']) {
    at(operator);
    const refused = await t.throwsAsync(resourcesInState(environment, 'prod-kafka'), {
      code: 'MUSTER_STATE_UNREACHABLE',
    });
    t.regex(refused.message, /password authentication failed for user "muster".*PGPASSWORD/);
  }
});
