import test from 'ava';
import { type Settings, standInSteps } from './stand-in.ts';

/** As the engine tells of a broker. */
const settings: Settings = {
  Config: { Hostname: 'kafka-3', StopTimeout: 60 },
  HostConfig: {
    Memory: 800_000_000,
    NanoCpus: 1_500_000_000,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges:true'],
    Ulimits: [{ Name: 'nofile', Soft: 16_384, Hard: 16_385 }],
    RestartPolicy: { Name: 'unless-stopped' },
    LogConfig: { Type: 'json-file', Config: { 'max-file': '3', 'max-size': '10m' } },
    PortBindings: { '9094/tcp': [{ HostIp: '127.0.0.1', HostPort: '29093' }], '9999/tcp': null },
  },
  Mounts: [
    { Type: 'volume', Name: 'm-kafka-3-data', Source: '/var/lib/docker/x', Destination: '/data', RW: true },
    { Type: 'bind', Source: '/home/me/inbox', Destination: '/inbox', RW: false },
  ],
};
const networks = [{ name: 'm', aliases: ['kafka-3'] }];
const lines = (list: readonly (readonly string[])[]) => list.map((args) => args.join(' '));

test('a stand-in has the settings, volumes and ports of the container', (t) => {
  const { steps } = standInSteps('m-kafka-3', settings, networks, { graceMs: 1_000 });
  const create = lines(steps).find((line) => line.startsWith('create'));
  t.is(
    create,
    [
      'create --name m-kafka-3-stand-in --hostname kafka-3 --restart unless-stopped',
      '--memory 800000000 --memory-swap 800000000 --cpus 1.5 --stop-timeout 60 --cap-drop ALL',
      '--security-opt no-new-privileges:true --ulimit nofile=16384:16385',
      '--log-driver json-file --log-opt max-file=3 --log-opt max-size=10m',
      '--network m --network-alias kafka-3 --publish 127.0.0.1:29093:9094/tcp',
      '--mount type=volume,source=m-kafka-3-data,target=/data',
      '--mount type=bind,source=/home/me/inbox,target=/inbox,readonly',
      'muster/stand-in:m-kafka-3',
    ].join(' '),
  );
});

test('the container itself is stopped and started, and never removed', (t) => {
  const disk = { path: '/data', bytes: 1_000 };
  for (const options of [{ graceMs: 1_000 }, { graceMs: 1_000, disk }]) {
    const { steps, heal } = standInSteps('m-kafka-3', settings, networks, options);
    const named = [...steps, ...heal].filter((args) => args.at(-1) === 'm-kafka-3');
    t.deepEqual(lines(named), ['stop --time 1 m-kafka-3', 'start m-kafka-3']);
    for (const args of [...steps, ...heal])
      if (args[0] === 'rm' || args.includes('rm')) t.regex(args.at(-1)!, /-stand-in|stand-in:/);
  }
});

test('a small disk takes the place of the volume, is in memory, and goes with the stand-in', (t) => {
  const disk = { path: '/data', bytes: 256_000_000 };
  const { steps, heal } = standInSteps('m-kafka-3', settings, networks, { graceMs: 1_000, disk });
  const done = lines(steps);
  t.true(
    done.includes(
      'volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=256000000,mode=0777 m-kafka-3-stand-in-disk',
    ),
    done.join('\n'),
  );
  const create = done.find((line) => line.startsWith('create'))!;
  t.regex(create, /--mount type=volume,source=m-kafka-3-stand-in-disk,target=\/data /);
  t.notRegex(create, /m-kafka-3-data/);
  // What is on it counts as the container's memory.
  t.regex(create, /--memory 1056000000 /);
  const undone = lines(heal);
  const order = [
    'rm --force m-kafka-3-stand-in',
    'rm --force m-kafka-3-stand-in-disk',
    'volume rm --force m-kafka-3-stand-in-disk',
    'start m-kafka-3',
  ].map((line) => undone.indexOf(line));
  t.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  t.false(order.includes(-1));
});

test('a container without a limit of memory gets none by a small disk', (t) => {
  const unlimited = { ...settings, HostConfig: { ...settings.HostConfig, Memory: 0 } };
  const disk = { path: '/data', bytes: 1_000 };
  const { steps } = standInSteps('m-kafka-3', unlimited, networks, { graceMs: 1_000, disk });
  t.true(lines(steps).some((line) => line.includes('--memory 0 --memory-swap 0 ')));
});
