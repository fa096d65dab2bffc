import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';

const root = join(import.meta.dirname, '..');

/** The file's name with a number, and its ending as it was: rules go by that. */
const numbered = (file: string, index: number) =>
  file.replace(/(\.integration)?(\.test)?\.ts$/, (ending) => `${index}${ending}`);

/** Lints a tree of one-line files that import from each other; returns the ones whose import is refused. */
function refusedImports(imports: readonly (readonly [file: string, from: string])[]): string[] {
  const tree = mkdtempSync(join(tmpdir(), 'muster-arrows-'));
  try {
    copyFileSync(join(root, 'biome.json'), join(tree, 'biome.json'));
    imports.forEach(([file, from], index) => {
      const path = join(tree, numbered(file, index));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `import { x } from '${from}';\nexport const y = x;\n`);
    });
    const args = [
      'lint',
      '--only=style/noRestrictedImports',
      '--vcs-enabled=false',
      '--reporter=json',
      '--max-diagnostics=200',
      '.',
    ];
    let output: string;
    try {
      output = execFileSync(join(root, 'node_modules/.bin/biome'), args, {
        cwd: tree,
        encoding: 'utf8',
        stdio: 'pipe',
      });
    } catch (error) {
      output = (error as { stdout: string }).stdout;
    }
    return imports
      .filter(([file], index) => output.includes(numbered(file, index)))
      .map(([file, from]) => `${file} <- ${from}`);
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

test('an import along the arrows is allowed', (t) => {
  t.deepEqual(
    refusedImports([
      ['catalog/a.ts', './topics.ts'],
      ['catalog/events/a.ts', '../topics.ts'],
      ['stacks/a.ts', '../catalog/x.ts'],
      ['stacks/constructs/a.ts', '../config/x.ts'],
      ['dashboards/a.ts', '../catalog/x.ts'],
      ['alerts/a.ts', '../catalog/x.ts'],
      ['workers/main.ts', './promotion/x.ts'],
      ['workers/base/a.ts', '../../catalog/x.ts'],
      ['workers/kafka/a.ts', '../base/x.ts'],
      ['workers/store/a.ts', '../kafka/x.ts'],
      ['workers/http/a.ts', '../store/x.ts'],
      ['workers/platform/a.ts', '../http/x.ts'],
      ['workers/views/a.ts', '../base/x.ts'],
      ['workers/coupon/a.ts', '../store/x.ts'],
      ['workers/console/a.ts', '../views/x.ts'],
      ['workers/promotion/a.ts', './x.ts'],
      ['workers/promotion/a.ts', '../platform/x.ts'],
      ['workers/promotion/a.ts', '../../catalog/events/x.ts'],
      ['environment/a.ts', '../workers/kafka/x.ts'],
      ['drawing/a.ts', '../environment/x.ts'],
      ['drawing/a.ts', '../workers/views/x.ts'],
      ['drills/a.ts', '../workers/promotion/x.ts'],
      ['drills/runner/a.ts', '../../environment/x.ts'],
      ['drills/runner/a.ts', '../checker/x.ts'],
      ['drills/checker/a.ts', './x.ts'],
      ['drills/checker/a.ts', '../../catalog/events/x.ts'],
      ['drills/checker/a.ts', '@platformatic/kafka'],
      ['drills/checker/a.integration.test.ts', '../../workers/kafka/x.ts'],
      ['workers/promotion/join.test.ts', '../../drills/checker/oracle.ts'],
      ['bench/a.ts', '../drills/x.ts'],
      ['tools/a.ts', '../drills/x.ts'],
      ['tools/verbs/a.ts', '../../bench/x.ts'],
    ]),
    [],
  );
});

test('an import against the arrows goes red in every room', (t) => {
  const forbidden = [
    ['catalog/a.ts', '../workers/x.ts'],
    ['catalog/events/a.ts', '../../tools/x.ts'],
    ['stacks/a.ts', '../workers/x.ts'],
    ['stacks/constructs/a.ts', '../../alerts/x.ts'],
    ['dashboards/a.ts', '../alerts/x.ts'],
    ['alerts/a.ts', '../stacks/x.ts'],
    ['workers/main.ts', '../tools/x.ts'],
    ['workers/base/a.ts', '../kafka/x.ts'],
    ['workers/kafka/a.ts', '../store/x.ts'],
    ['workers/store/a.ts', '../http/x.ts'],
    ['workers/http/a.ts', '../platform/x.ts'],
    ['workers/views/a.ts', '../http/x.ts'],
    ['workers/views/a.ts', '../../dashboards/x.ts'],
    ['workers/platform/a.ts', '../coupon/x.ts'],
    ['workers/platform/a.ts', '../../tools/x.ts'],
    ['workers/promotion/a.ts', '../coupon/x.ts'],
    ['workers/promotion/a.ts', '../../stacks/x.ts'],
    ['workers/coupon/a.ts', '../promotion/events.ts'],
    ['environment/a.ts', '../drawing/x.ts'],
    ['environment/a.ts', '../drills/x.ts'],
    ['drawing/a.ts', '../drills/x.ts'],
    ['drills/a.ts', '../tools/x.ts'],
    ['drills/runner/a.ts', '../../tools/x.ts'],
    ['drills/checker/a.ts', '../../workers/kafka/x.ts'],
    ['drills/checker/a.ts', '../../environment/x.ts'],
    ['drills/checker/a.ts', '../drill.ts'],
    ['drills/checker/a.ts', '../runner/x.ts'],
    ['drills/checker/a.test.ts', '../../workers/promotion/x.ts'],
    ['workers/promotion/a.ts', '../../drills/checker/oracle.ts'],
    ['workers/promotion/join.ts', '../../drills/checker/oracle.ts'],
    ['bench/a.ts', '../tools/x.ts'],
    ['tools/a.ts', '../test/x.ts'],
  ] as const;
  t.deepEqual(
    refusedImports(forbidden),
    forbidden.map(([file, from]) => `${file} <- ${from}`),
  );
});
