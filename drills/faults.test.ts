import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { type DockerRunner, type Fault, withFaults } from './faults.ts';

// Locks of their own: a drill that runs on this machine must not hold up the tests.
process.env.XDG_CACHE_HOME = mkdtempSync(join(tmpdir(), 'muster-faults-cache-'));

const environment = environments.ci;
const inspected = JSON.stringify([
  {
    Id: '52f7a14929dbaaaaaaaa',
    State: { Running: true, Paused: false, Pid: 4_194_399 },
    Config: { Hostname: 'kafka-2', StopTimeout: 60 },
    HostConfig: {
      Memory: 805_306_368,
      NanoCpus: 0,
      CapDrop: ['ALL'],
      SecurityOpt: null,
      Ulimits: null,
      RestartPolicy: { Name: 'unless-stopped' },
      LogConfig: { Type: 'json-file', Config: null },
      PortBindings: null,
    },
    Mounts: [{ Type: 'volume', Name: 'logs', Source: '/docker/logs', Destination: '/data', RW: true }],
    NetworkSettings: {
      Networks: {
        'muster-ci': { Aliases: ['kafka-2', '52f7a14929db'], IPAMConfig: {} },
        other: { Aliases: null, IPAMConfig: { IPv4Address: '10.0.0.7' } },
      },
    },
  },
]);

/** A docker that notes what it is told; `says` decides what it answers. */
function recorded(says: (args: string) => string | undefined = () => undefined) {
  const told: string[] = [];
  const docker: DockerRunner = async (args) => {
    if (args[0] === 'inspect') return { exitCode: 0, stdout: inspected, stderr: '' };
    told.push(args.join(' '));
    const problem = says(args.join(' '));
    return { exitCode: problem === undefined ? 0 : 1, stdout: '', stderr: problem ?? '' };
  };
  const stateDirectory = mkdtempSync(join(tmpdir(), 'muster-faults-'));
  const journal = () => readdirSync(join(stateDirectory, 'faults'));
  return { told, docker, stateDirectory, journal, options: { docker, stateDirectory } };
}

const cases: readonly (readonly [fault: Fault, does: readonly string[], heals: readonly string[]])[] = [
  [{ kind: 'kill' }, ['kill --signal KILL muster-ci-kafka-2'], ['start muster-ci-kafka-2']],
  [{ kind: 'stop', graceMs: 2_500 }, ['stop --time 3 muster-ci-kafka-2'], ['start muster-ci-kafka-2']],
  [{ kind: 'pause' }, ['pause muster-ci-kafka-2'], ['unpause muster-ci-kafka-2']],
  [
    { kind: 'cut' },
    ['network disconnect muster-ci muster-ci-kafka-2', 'network disconnect other muster-ci-kafka-2'],
    [
      'network connect --alias kafka-2 muster-ci muster-ci-kafka-2',
      'network connect --ip 10.0.0.7 other muster-ci-kafka-2',
    ],
  ],
  [
    { kind: 'replace', graceMs: 2_500 },
    [
      'commit --pause=false --change LABEL muster.stand-in=muster-ci-kafka-2 muster-ci-kafka-2 muster/stand-in:muster-ci-kafka-2',
      'stop --time 3 muster-ci-kafka-2',
      'create --name muster-ci-kafka-2-stand-in --hostname kafka-2 --restart unless-stopped --memory 805306368 --memory-swap 805306368 --stop-timeout 60 --cap-drop ALL --log-driver json-file --network muster-ci --network-alias kafka-2 --mount type=volume,source=logs,target=/data muster/stand-in:muster-ci-kafka-2',
      'network connect other muster-ci-kafka-2-stand-in',
      'start muster-ci-kafka-2-stand-in',
    ],
    [
      'stop --time 3 muster-ci-kafka-2-stand-in',
      'rm --force muster-ci-kafka-2-stand-in',
      'start muster-ci-kafka-2',
      'image rm --force muster/stand-in:muster-ci-kafka-2',
    ],
  ],
  [
    { kind: 'file', path: '/etc/muster/more.yml', text: 'a: "b"' },
    [
      'exec --user 0 muster-ci-kafka-2 /bin/sh -c printf %s "$1" >"$2" sh a: "b" /etc/muster/more.yml',
      'exec muster-ci-kafka-2 /bin/sh -c kill -HUP 1',
    ],
    [
      'exec --user 0 muster-ci-kafka-2 /bin/sh -c rm -f "$1" sh /etc/muster/more.yml',
      'exec muster-ci-kafka-2 /bin/sh -c kill -HUP 1',
    ],
  ],
];
for (const [fault, does, heals] of cases)
  test(`${fault.kind}: is done, and taken back at the end, with its journal entry gone`, async (t) => {
    const { told, options, journal } = recorded();
    await withFaults(environment, options, async (faults) => {
      const { alias, atMs } = await faults.inject('kafka-2', fault);
      t.is(alias, 'kafka-2');
      t.true(Date.now() - atMs < 60_000);
      t.deepEqual(told, does);
      t.is(journal().length, 1);
    });
    t.deepEqual(told, [...does, ...heals]);
    t.deepEqual(journal(), []);
  });

test('a restart heals itself', async (t) => {
  const { told, options, journal } = recorded();
  await withFaults(environment, options, async (faults) => {
    const injected = await faults.inject('kafka-1', { kind: 'restart' });
    await injected.healed;
    t.deepEqual(journal(), []);
    await faults.inject('kafka-1', { kind: 'restart' });
  });
  t.deepEqual(
    told.filter((line) => line.startsWith('restart')),
    ['restart --time 10 muster-ci-kafka-1', 'restart --time 10 muster-ci-kafka-1'],
  );
});

test('how to heal is in the journal before the fault is done', async (t) => {
  const { told, options, journal, stateDirectory } = recorded((args) => {
    if (args.startsWith('kill')) {
      const [name] = journal();
      const entry = JSON.parse(readFileSync(join(stateDirectory, 'faults', name!), 'utf8'));
      t.deepEqual(entry.heal, [['start', 'muster-ci-kafka-2']]);
    }
    return undefined;
  });
  t.plan(2);
  await withFaults(environment, options, async (faults) => {
    await faults.inject('kafka-2', { kind: 'kill' });
  });
  t.is(told.length, 2);
});

test('healing twice is healing once, by hand or at the end', async (t) => {
  const { told, options } = recorded();
  await withFaults(environment, options, async (faults) => {
    const injected = await faults.inject('kafka-2', { kind: 'pause' });
    await Promise.all([injected.heal(), injected.heal()]);
    await injected.heal();
    await faults.healAll();
  });
  t.deepEqual(told, ['pause muster-ci-kafka-2', 'unpause muster-ci-kafka-2']);
});

test('a pause with a length ends by itself', async (t) => {
  const { told, options } = recorded();
  await withFaults(environment, options, async (faults) => {
    const { healed } = await faults.inject('kafka-2', { kind: 'pause', forMs: 20 });
    await healed;
    t.deepEqual(told, ['pause muster-ci-kafka-2', 'unpause muster-ci-kafka-2']);
  });
  t.is(told.length, 2);
});

test('after an error everything is healed, the last fault first', async (t) => {
  const { told, options, journal } = recorded();
  await t.throwsAsync(
    withFaults(environment, options, async (faults) => {
      await faults.inject('kafka-1', { kind: 'pause' });
      await faults.inject('kafka-2', { kind: 'kill' });
      throw new Error('the drill failed');
    }),
    { message: 'the drill failed' },
  );
  t.deepEqual(told.slice(2), ['start muster-ci-kafka-2', 'unpause muster-ci-kafka-1']);
  t.deepEqual(journal(), []);
});

test('what a run that was cut off has left is healed by the next, before anything else', async (t) => {
  const { told, options, journal, docker } = recorded();
  // The first run's engine refuses to heal, so its journal entry stays as after a crash.
  const stuck: DockerRunner = async (args) =>
    args[0] === 'start' ? { exitCode: 1, stdout: '', stderr: 'engine is gone' } : docker(args);
  await t.throwsAsync(
    withFaults(environment, { ...options, docker: stuck }, (faults) =>
      faults.inject('kafka-3', { kind: 'kill' }),
    ),
    { code: 'MUSTER_FAULT_HEAL', message: /By hand: docker start muster-ci-kafka-3/ },
  );
  t.is(journal().length, 1);
  const said: string[] = [];
  await withFaults(environment, { ...options, report: (line) => said.push(line) }, async () => {
    t.deepEqual(told, ['kill --signal KILL muster-ci-kafka-3', 'start muster-ci-kafka-3']);
  });
  t.regex(said[0]!, /left: kill of kafka-3/);
  t.deepEqual(journal(), []);
});

test('what has healed already, or is gone altogether, is no error', async (t) => {
  const answers: Record<string, string> = {
    unpause: 'Error response from daemon: Container 52f is not paused',
    start: 'Error response from daemon: No such container: muster-ci-kafka-2',
    network:
      'Error response from daemon: endpoint with name muster-ci-kafka-1 already exists in network muster-ci',
  };
  const { options, journal } = recorded((args) =>
    args.includes('disconnect') ? undefined : answers[args.split(' ')[0]!],
  );
  await withFaults(environment, options, async (faults) => {
    await faults.inject('kafka-1', { kind: 'cut' });
    await faults.inject('kafka-2', { kind: 'kill' });
    await faults.inject('kafka-3', { kind: 'pause' });
  });
  t.deepEqual(journal(), []);
});

test('a fault that is taken back while it is being done: nothing is done after the healing', async (t) => {
  const { told, options, docker, journal } = recorded();
  const stopping = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const slow: DockerRunner = async (args) => {
    const finished = await docker(args);
    if (args.join(' ') === 'stop --time 10 muster-ci-kafka-2') {
      stopping.resolve();
      await stopped.promise;
    }
    return finished;
  };
  await withFaults(environment, { ...options, docker: slow }, async (faults) => {
    const injecting = t.throwsAsync(faults.inject('kafka-2', { kind: 'replace' }), {
      code: 'MUSTER_FAULT_INJECT',
      message: /taken back/,
    });
    await stopping.promise;
    const healing = faults.healAll();
    stopped.resolve();
    await Promise.all([injecting, healing]);
  });
  t.deepEqual(
    told.map((line) => line.split(' ')[0]),
    ['commit', 'stop', 'stop', 'rm', 'start', 'image'],
  );
  t.deepEqual(journal(), []);
});

test('a stand-in that cannot be made leaves nothing: what it was to replace runs again', async (t) => {
  const { told, options, journal } = recorded((args) => {
    if (args.startsWith('create')) return 'invalid mount config';
    if (/^(stop|rm|image rm) .*(stand-in|stand-in:)/.test(args)) return 'Error: No such container or image';
    return undefined;
  });
  await withFaults(environment, options, async (faults) => {
    await t.throwsAsync(faults.inject('kafka-2', { kind: 'replace' }), {
      code: 'MUSTER_FAULT_INJECT',
      message: /replace of muster-ci-kafka-2: invalid mount config/,
    });
    t.true(told.includes('start muster-ci-kafka-2'));
    t.deepEqual(journal(), []);
  });
});

test('a small disk is there with the stand-in, and gone when it is', async (t) => {
  const { told, options } = recorded();
  const volumes = () => told.filter((line) => line.startsWith('volume'));
  await withFaults(environment, options, async (faults) => {
    await faults.inject('kafka-2', { kind: 'replace', disk: { path: '/data', bytes: 1_000 } });
    t.regex(volumes()[0]!, /create .*size=1000,/);
  });
  t.deepEqual(volumes().slice(1), ['volume rm --force muster-ci-kafka-2-stand-in-disk']);
});

test('a small disk is given only in the place of a disk', async (t) => {
  const { told, options, journal } = recorded();
  await withFaults(environment, options, async (faults) => {
    const disk = { path: '/nowhere', bytes: 1_000 };
    await t.throwsAsync(faults.inject('kafka-2', { kind: 'replace', disk }), { code: 'MUSTER_FAULT_TARGET' });
    t.deepEqual(told, []);
    t.deepEqual(journal(), []);
  });
});

test('a container that cannot be frozen in this moment is frozen in the next', async (t) => {
  let refusals = 2;
  const { told, options } = recorded((args) =>
    args.startsWith('pause') && refusals-- > 0
      ? 'OCI runtime pause failed: unable to freeze: unknown'
      : undefined,
  );
  await withFaults(environment, options, async (faults) => {
    await faults.inject('kafka-2', { kind: 'pause' });
    t.deepEqual(told, Array(3).fill('pause muster-ci-kafka-2'));
  });
});

test('a fault that the engine refuses half-way is taken back at once', async (t) => {
  const { told, options, journal } = recorded((args) =>
    args.startsWith('network disconnect other') ? 'no such endpoint' : undefined,
  );
  await withFaults(environment, options, async (faults) => {
    await t.throwsAsync(faults.inject('kafka-2', { kind: 'cut' }), {
      code: 'MUSTER_FAULT_INJECT',
      message: /cut of muster-ci-kafka-2: no such endpoint/,
    });
    t.true(told.includes('network connect --alias kafka-2 muster-ci muster-ci-kafka-2'));
    t.deepEqual(journal(), []);
  });
});

test('one fault a container at a time, on containers that the environment has', async (t) => {
  const { options } = recorded();
  await withFaults(environment, options, async (faults) => {
    await faults.inject('kafka-2', { kind: 'pause' });
    await t.throwsAsync(faults.inject('kafka-2', { kind: 'kill' }), { code: 'MUSTER_FAULT_TARGET' });
    await t.throwsAsync(faults.inject('kafka-9', { kind: 'kill' }), { code: 'MUSTER_PLACEMENT_UNKNOWN' });
  });
});

test('what does not run is not broken once more', async (t) => {
  const { options, told } = recorded();
  const dead = inspected.replace('"Running":true', '"Running":false');
  const docker: DockerRunner = async () => ({ exitCode: 0, stdout: dead, stderr: '' });
  await withFaults(environment, { ...options, docker }, async (faults) => {
    await t.throwsAsync(faults.inject('kafka-2', { kind: 'pause' }), { code: 'MUSTER_FAULT_TARGET' });
  });
  t.deepEqual(told, []);
});

test('prod is refused unless asked for in so many words', async (t) => {
  const { options, told } = recorded();
  const pause = (reallyProd: boolean) =>
    withFaults(environments.prod, { ...options, reallyProd }, async (faults) => {
      await faults.inject('kafka-2', { kind: 'pause' });
    });
  await t.throwsAsync(pause(false), { code: 'MUSTER_FAULT_PROD' });
  t.deepEqual(told, []);
  const remote = recorded();
  const hosts: string[] = [];
  const docker: DockerRunner = async (args) => {
    hosts.push(`${args[0]} ${args[1]}`);
    return remote.docker(args.slice(2));
  };
  await withFaults(environments.prod, { ...remote.options, docker, reallyProd: true }, async (faults) => {
    await faults.inject('kafka-2', { kind: 'pause' });
  });
  t.deepEqual(remote.told, ['pause muster-prod-kafka-2', 'unpause muster-prod-kafka-2']);
  t.deepEqual([...new Set(hosts)], ['--host ssh://muster@kafka-2.muster.internal']);
});

test('a signal to a process of another host’s engine is refused, and nothing is left of it', async (t) => {
  const { docker, options, journal } = recorded();
  const remote: DockerRunner = (args) => docker(args.slice(2));
  await withFaults(environments.prod, { ...options, docker: remote, reallyProd: true }, async (faults) => {
    await t.throwsAsync(faults.inject('kafka-1', { kind: 'crash' }), { code: 'MUSTER_FAULT_INJECT' });
    t.deepEqual(journal(), []);
  });
});
