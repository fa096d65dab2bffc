/** Faults on a container of our own beside the environment, with a real engine. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { environmentNamed } from '../catalog/environments.ts';
import { containersOf, docker } from '../environment/docker.ts';
import { type Fault, withFaults } from './faults.ts';
import { standInOf } from './stand-in.ts';

const id = `muster-faults-${process.pid}-${Date.now().toString(36)}`;
/** An environment of one container that is not in any catalog: its redis is ours to break. */
const environment = { ...environmentNamed('ci'), prefix: id };
const container = `${id}-redis`;
const stateDirectory = mkdtempSync(join(tmpdir(), 'muster-faults-'));
process.env.XDG_CACHE_HOME = mkdtempSync(join(tmpdir(), 'muster-faults-cache-'));
const options = { stateDirectory };

test.before(async (t) => {
  t.timeout(120_000);
  const redis = (await containersOf(environmentNamed('ci'))).find(({ component }) => component === 'redis');
  t.truthy(redis, 'environment ci is not up');
  await docker(['network', 'create', id]);
  const settings = ['--restart', 'unless-stopped', '--network', id, '--network-alias', 'redis'];
  const disk = ['--volume', `${id}-data:/data`];
  const image = ['--publish', '127.0.0.1:0:6379', '--entrypoint', 'redis-server', redis!.image];
  await docker([
    'run',
    '--detach',
    '--name',
    container,
    ...settings,
    ...disk,
    ...image,
    '--bind',
    '0.0.0.0',
    '--protected-mode',
    'no',
  ]);
  await eventually(t, 'redis answers', answers);
});

test.after.always(async () => {
  await docker(['rm', '--force', '--volumes', container]).catch(() => undefined);
  await docker(['network', 'rm', id]).catch(() => undefined);
  await docker(['volume', 'rm', '--force', `${id}-data`]).catch(() => undefined);
});

/** Whether redis answers at its published port within a second. */
async function answers(): Promise<boolean> {
  // The engine chose a free port, and chooses again at each start.
  const published = await docker(['port', container, '6379']).catch(() => '');
  const port = Number(/:(\d+)/.exec(published)?.[1]);
  if (!(port > 0)) return false;
  const socket = connect({ host: '127.0.0.1', port });
  try {
    socket.write('PING\r\n');
    const data = once(socket, 'data') as Promise<[Buffer]>;
    data.catch(() => undefined);
    const answer = await Promise.race([data, sleep(1_000, undefined, { ref: false })]);
    return answer !== undefined && String(answer[0]).startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.on('error', () => undefined).destroy();
  }
}

async function eventually(
  t: ExecutionContext,
  what: string,
  condition: () => Promise<boolean>,
): Promise<void> {
  for (const until = Date.now() + 60_000; Date.now() < until; await sleep(200))
    if (await condition()) return void t.pass();
  t.fail(`not within 60 s: ${what}`);
}

const state = () => docker(['inspect', '--format', '{{.State.Status}}', container]);
const journal = () => readdirSync(join(stateDirectory, 'faults'));

for (const [fault, meanwhile] of [
  [{ kind: 'kill' }, 'exited'],
  [{ kind: 'stop' }, 'exited'],
  [{ kind: 'pause' }, 'paused'],
  [{ kind: 'cut' }, 'running'],
] as const satisfies readonly (readonly [Fault, string])[])
  test.serial(`${fault.kind}: redis does not answer, and does again when it is healed`, async (t) => {
    t.timeout(120_000);
    await withFaults(environment, options, async (faults) => {
      await faults.inject('redis', fault);
      t.is(await state(), meanwhile);
      t.false(await answers());
    });
    t.is(await state(), 'running');
    await eventually(t, 'redis answers', answers);
    const networks = await docker(['inspect', '--format', '{{json .NetworkSettings.Networks}}', container]);
    t.true((JSON.parse(networks)[id].Aliases as string[]).includes('redis'), networks);
    t.deepEqual(journal(), []);
  });

test.serial('restart: another process answers', async (t) => {
  t.timeout(120_000);
  const startedAt = () => docker(['inspect', '--format', '{{.State.StartedAt}}', container]);
  const before = await startedAt();
  await withFaults(environment, options, async (faults) => {
    await faults.inject('redis', { kind: 'restart' });
  });
  t.not(await startedAt(), before);
  await eventually(t, 'redis answers', answers);
});

const shell = (name: string, script: string) => docker(['exec', name, '/bin/sh', '-c', script]);
/** What a stand-in would leave, if it left anything. */
const leftOver = async () =>
  (
    await Promise.all([
      docker(['ps', '--all', '--quiet', '--filter', `name=${standInOf(container)}`]),
      docker(['volume', 'ls', '--quiet', '--filter', `name=${standInOf(container)}`]),
      docker(['images', '--quiet', `muster/stand-in:${container}`]),
    ])
  ).join('');

test.serial(
  'replace: another container with the same settings does its work, until it is healed',
  async (t) => {
    t.timeout(120_000);
    const standIn = standInOf(container);
    const settings = async (name: string) => {
      const [{ Config, HostConfig, NetworkSettings }] = JSON.parse(await docker(['inspect', name]));
      const { Hostname, User, Env, Cmd, Entrypoint, WorkingDir, StopSignal } = Config;
      const { Memory, RestartPolicy, LogConfig, CapDrop, SecurityOpt, Ulimits } = HostConfig;
      const { Aliases } = NetworkSettings.Networks[id];
      return {
        Hostname: Hostname.length,
        ...{ User, Env, Cmd, Entrypoint, WorkingDir, StopSignal },
        ...{ Memory, RestartPolicy, LogConfig, CapDrop, SecurityOpt, Ulimits },
        hasAlias: Aliases.includes('redis'),
      };
    };
    await shell(container, 'echo kept > /data/note');
    await withFaults(environment, options, async (faults) => {
      await faults.inject('redis', { kind: 'replace' });
      t.is(await state(), 'exited');
      t.deepEqual(await settings(standIn), await settings(container));
      const image = (name: string) => docker(['inspect', '--format', '{{.Image}}', name]);
      t.not(await image(standIn), await image(container));
      t.is(await shell(standIn, 'cat /data/note'), 'kept');
    });
    t.is(await state(), 'running');
    t.is(await leftOver(), '');
    await eventually(t, 'redis answers', answers);
  },
);

test.serial('replace with a disk: a small one that stays full when it is started again', async (t) => {
  t.timeout(120_000);
  const standIn = standInOf(container);
  await shell(container, 'echo kept > /data/note');
  await withFaults(environment, options, async (faults) => {
    await faults.inject('redis', { kind: 'replace', disk: { path: '/data', bytes: 4_194_304 } });
    t.is(await shell(standIn, 'ls /data'), '');
    const fill = 'head -c 8000000 /dev/zero > /data/ballast || wc -c < /data/ballast';
    t.is(Number(await shell(standIn, fill)), 4_194_304);
    await docker(['restart', '--time', '0', standIn]);
    t.is(Number(await shell(standIn, 'wc -c < /data/ballast')), 4_194_304);
  });
  t.is(await shell(container, 'cat /data/note'), 'kept');
  t.notRegex(await shell(container, 'ls /data'), /ballast/);
  t.is(await leftOver(), '');
});

test.serial('file: is there, and is gone when it is healed', async (t) => {
  t.timeout(120_000);
  const path = '/tmp/drill.conf';
  await withFaults(environment, options, async (faults) => {
    await faults.inject('redis', { kind: 'file', path, text: 'a "b"\n$c' });
    t.is(await shell(container, `cat ${path}`), 'a "b"\n$c');
    t.is(await state(), 'running');
  });
  t.is(await shell(container, `test ! -e ${path} && echo gone`), 'gone');
});

const root = process.getuid?.() === 0;
(root ? test.serial : test.serial.skip)('crash: the engine itself brings it up again', async (t) => {
  t.timeout(120_000);
  const restarts = async () => Number(await docker(['inspect', '--format', '{{.RestartCount}}', container]));
  const before = await restarts();
  await withFaults(environment, options, async (faults) => {
    await faults.inject('redis', { kind: 'crash' });
    await eventually(t, 'the engine restarts it', async () => (await restarts()) > before);
    await eventually(t, 'redis answers', answers);
  });
});

/** A process of its own that injects a fault and then waits; `ends` is how it comes to its end. */
async function otherProcess(t: ExecutionContext, ends: 'SIGKILL' | 'exit'): Promise<void> {
  const script = `
    import { withFaults } from ${JSON.stringify(new URL('./faults.ts', import.meta.url).href)};
    import { environmentNamed } from ${JSON.stringify(new URL('../catalog/environments.ts', import.meta.url).href)};
    const environment = { ...environmentNamed('ci'), prefix: ${JSON.stringify(id)} };
    await withFaults(environment, { stateDirectory: ${JSON.stringify(stateDirectory)} }, async (faults) => {
      await faults.inject('redis', { kind: 'pause' });
      console.log('injected');
      ${ends === 'exit' ? 'process.exit(3)' : 'await new Promise((resolve) => setTimeout(resolve, 60_000))'};
    });`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
  const ended = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    t.is(line, 'injected');
    if (ends !== 'exit') child.kill(ends);
  }
  await ended;
}

test.serial('a run that is killed on the spot is healed by the next', async (t) => {
  t.timeout(120_000);
  await otherProcess(t, 'SIGKILL');
  t.is(await state(), 'paused');
  const said: string[] = [];
  await withFaults(environment, { ...options, report: (line) => said.push(line) }, async () => {
    t.is(await state(), 'running');
  });
  t.true(
    said.some((line) => line.includes('pause of redis')),
    said.join('\n'),
  );
  await eventually(t, 'redis answers', answers);
});

test.serial('a process that ends in the middle heals on its way out', async (t) => {
  t.timeout(120_000);
  await otherProcess(t, 'exit');
  t.is(await state(), 'running');
  t.deepEqual(journal(), []);
});
