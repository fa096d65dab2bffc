import test from 'ava';
import { docker, remove } from './docker.ts';
import { fakePrograms } from './fake-programs.fixture.ts';

const what = { dockerUri: undefined, containers: ['c'], networks: ['n'], volumes: ['v'] };

test.serial('what docker says against it is passed on, also where its last line says nothing', async (t) => {
  await fakePrograms(t, {
    docker: `printf 'Error response: the disk is full\\nexit status 1\\n' >&2; exit 1`,
  });
  await t.throwsAsync(docker(['network', 'rm', 'n']), { message: /the disk is full$/ });
});

test.serial('what somebody else has removed meanwhile is no error', async (t) => {
  const { calls } = await fakePrograms(t, {
    docker: `printf 'Error response: n not found\\nexit status 1\\n' >&2; exit 1`,
  });
  await remove(what);
  t.is((await calls()).length, 3);
});

test.serial('a network that a container is just leaving goes when it has left', async (t) => {
  const { calls } = await fakePrograms(t, {
    docker: `if [ "$1" = network ] && [ ! -e tried ]; then
       touch tried; printf 'Error response: n has active endpoints\\nexit status 1\\n' >&2; exit 1
     fi`,
  });
  await remove(what);
  t.deepEqual(
    (await calls()).map((line) => line.split(' ')[1]),
    ['rm', 'network', 'network', 'volume'],
  );
});
