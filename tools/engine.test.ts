import test from 'ava';
import {
  compareVersions,
  isOnThisMachine,
  isPodman,
  isStalePidFile,
  leftoverMounts,
  refuseRemote,
} from './engine.ts';
import { isDebianFamily } from './programs.ts';

test('versions compare by their numbers, whatever a distribution appends', (t) => {
  t.true(compareVersions('20.10.24+dfsg1', '20.10') > 0);
  t.true(compareVersions('19.03.15', '20.10') < 0);
  t.true(compareVersions('28.2.2', '20.10') > 0);
  t.true(compareVersions('v20.9.1', '20.10') < 0);
  t.is(compareVersions('20.10', '20.10.0'), 0);
  t.true(compareVersions('27.0.0-rc.1', '20.10') > 0);
});

test('a version that is no number counts as the oldest', (t) => {
  t.true(compareVersions('library-import', '20.10') < 0);
});

test('podman is known by what it says of itself, in the place of docker and behind it', (t) => {
  t.true(isPodman('podman version 4.9.3'));
  t.true(isPodman('Podman Engine Conmon OCI Runtime (crun) '));
  t.false(isPodman('Docker version 20.10.24+dfsg1, build 297e128'));
  t.false(isPodman('Engine containerd runc docker-init '));
});

test('an engine on another machine is refused for an environment of this one', (t) => {
  const here = [
    'unix:///var/run/docker.sock',
    'npipe:////./pipe/docker_engine',
    'tcp://127.0.0.1:2375',
    'tcp://localhost:2375',
  ];
  for (const dockerHost of here) t.true(isOnThisMachine(dockerHost), dockerHost);
  for (const dockerHost of ['ssh://me@host', 'tcp://docker:2375', 'tcp://127.0.0.1.evil.example:2375']) {
    t.false(isOnThisMachine(dockerHost), dockerHost);
    t.throws(() => refuseRemote({ dockerHost, version: '28.0.0', started: false }), {
      code: 'MUSTER_ENGINE_REMOTE',
    });
  }
});

test('a pid file is stale when its process is gone or its id belongs to another program by now', (t) => {
  const running = (name: string) => () => ({ name, startTicks: '1' });
  t.false(isStalePidFile('123\n', 'dockerd', running('dockerd')));
  t.true(isStalePidFile('123', 'dockerd', running('node')));
  t.true(isStalePidFile('123', 'dockerd', () => undefined));
  t.true(isStalePidFile('', 'dockerd', running('dockerd')));
  t.true(isStalePidFile('rubbish', 'dockerd', running('dockerd')));
  t.true(isStalePidFile('-1', 'dockerd', running('dockerd')));
});

test('mounts of a cut-off engine come off deepest first, and nobody else’s are touched', (t) => {
  const mounts = [
    '/dev/vda / ext4 rw 0 0',
    'overlay /var/lib/docker/overlay2/abc/merged overlay rw 0 0',
    'shm /var/lib/docker/containers/x/mounts/shm tmpfs rw 0 0',
    'nsfs /run/docker/netns/1\\040a nsfs rw 0 0',
    'tmpfs /var/lib/docker-other tmpfs rw 0 0',
    '',
  ].join('\n');
  t.deepEqual(leftoverMounts(mounts, ['/var/lib/docker', '/run/docker']), [
    '/var/lib/docker/containers/x/mounts/shm',
    '/var/lib/docker/overlay2/abc/merged',
    '/run/docker/netns/1 a',
  ]);
});

test('Debian, Ubuntu and their descendants are told from other systems', (t) => {
  t.true(isDebianFamily('NAME="Debian GNU/Linux"\nID=debian\n'));
  t.true(isDebianFamily('ID=linuxmint\nID_LIKE="ubuntu debian"\n'));
  t.false(isDebianFamily('ID="fedora"\nID_LIKE=""\nNAME="not debian"\n'));
  t.false(isDebianFamily(''));
});
