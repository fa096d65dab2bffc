import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { renderEverything, writeRendered } from './render.ts';

const folder = mkdtempSync(join(tmpdir(), 'muster-render-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

test('everything derived from the catalog is rendered for every environment', async (t) => {
  const files = await renderEverything();
  for (const environment of ['dev', 'ci', 'prod'])
    for (const path of [
      'kafka/server-1.properties',
      'zookeeper/zoo-1.cfg',
      'prometheus/prometheus.yml',
      'prometheus/rules/watchdog.yml',
      'grafana/dashboards/overview.json',
    ])
      t.true(files.has(`${environment}/${path}`), `${environment}/${path}`);
  t.true(files.has('catalog/asyncapi.yaml'));
});

test('only what changed is written, what is stale goes, and what is not ours stays', async (t) => {
  mkdirSync(join(folder, 'other'));
  writeFileSync(join(folder, 'other', 'mine.txt'), 'mine');
  t.deepEqual(
    await writeRendered(
      new Map([
        ['dev/a/x', '1'],
        ['dev/y', '2'],
      ]),
      folder,
    ),
    {
      added: ['dev/a/x', 'dev/y'],
      changed: [],
      removed: [],
      unchanged: 0,
    },
  );
  t.deepEqual(
    await writeRendered(
      new Map([
        ['dev/y', '3'],
        ['dev/z', '4'],
      ]),
      folder,
    ),
    {
      added: ['dev/z'],
      changed: ['dev/y'],
      removed: ['dev/a/x'],
      unchanged: 0,
    },
  );
  t.false(existsSync(join(folder, 'dev/a')));
  t.is(readFileSync(join(folder, 'other/mine.txt'), 'utf8'), 'mine');
});
