import test from 'ava';
import { cmak, hashOf, imageRef, localImages, officialImages, productionDependencies } from './images.ts';

test('a hash changes when a character moves from one part to the next', (t) => {
  t.not(hashOf(['ab', 'c']), hashOf(['a', 'bc']));
  t.is(hashOf(['ab', 'c']), hashOf(['ab', 'c']));
  t.is(hashOf(['ab', Buffer.from('c')]), hashOf(['ab', 'c']));
  t.regex(hashOf([]), /^[0-9a-f]{12}$/);
});

test('a new development tool leaves the worker image alone, a new production package does not', (t) => {
  const runtime = { version: '1.0.0', integrity: 'sha512-a' };
  const before = { packages: { '': {}, 'node_modules/a': runtime } };
  const tool = { packages: { ...before.packages, 'node_modules/tool': { version: '9.0.0', dev: true } } };
  const more = { packages: { ...before.packages, 'node_modules/b': runtime } };
  const raised = { packages: { '': {}, 'node_modules/a': { ...runtime, version: '1.0.1' } } };
  const hash = (lock: Parameters<typeof productionDependencies>[0]) => hashOf(productionDependencies(lock));
  t.is(hash(tool), hash(before));
  t.not(hash(more), hash(before));
  t.not(hash(raised), hash(before));
});

test('every image is built after the one it stands on', (t) => {
  for (const source of ['build', 'registry'] as const) {
    const done = new Set<string>();
    for (const { image, parent } of localImages(source)) {
      if ('image' in parent) t.true(done.has(parent.image), `${image} before ${parent.image}`);
      done.add(image);
    }
  }
});

test('under `build` everything is local, and Grafana and CMAK do not exist', (t) => {
  const names = [
    'kafka',
    'zookeeper',
    'mysql',
    'redis',
    'prometheus',
    'alertmanager',
    'jaeger',
    'victorialogs',
    'haproxy',
    'mysql-backup',
    'worker',
  ] as const;
  for (const name of names) t.true(imageRef(name, 'build')?.local, name);
  t.is(imageRef('grafana', 'build'), undefined);
  t.is(imageRef('cmak', 'build'), undefined);
});

test('under `registry` third-party images are pinned to a version, never to a moving tag', (t) => {
  for (const reference of [...officialImages(), ...cmak.candidates]) t.regex(reference, /:v?\d+\.\d+\.\d+/);
  t.true(imageRef('kafka', 'registry')?.local);
  t.true(imageRef('worker', 'registry')?.local);
  t.false(imageRef('zookeeper', 'registry')?.local);
});

test('the worker image holds no tests', (t) => {
  const worker = localImages('build').find(({ image }) => image === 'worker');
  t.true(worker?.files.includes('package.json'));
  t.deepEqual(
    worker?.files.filter((file) => /\.(test|fixture)\.ts$/.test(file)),
    [],
  );
});
