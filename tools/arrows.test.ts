import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';

const root = join(import.meta.dirname, '..');

/** Lints a tree of one-line files that import from each other; returns the ones whose import is refused. */
function refusedImports(imports: readonly (readonly [file: string, from: string])[]): string[] {
  const tree = mkdtempSync(join(tmpdir(), 'muster-arrows-'));
  try {
    copyFileSync(join(root, 'biome.json'), join(tree, 'biome.json'));
    imports.forEach(([file, from], index) => {
      const path = join(tree, file.replace('.ts', `${index}.ts`));
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
      .filter(([file], index) => output.includes(file.replace('.ts', `${index}.ts`)))
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
      ['workers/platform/a.ts', '../../catalog/x.ts'],
      ['workers/promotion/a.ts', './x.ts'],
      ['workers/promotion/a.ts', '../platform/x.ts'],
      ['workers/promotion/a.ts', '../../catalog/events/x.ts'],
      ['tools/a.ts', '../workers/platform/x.ts'],
      ['drills/a.ts', '../workers/promotion/x.ts'],
      ['bench/a.ts', '../tools/x.ts'],
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
    ['workers/platform/a.ts', '../../tools/x.ts'],
    ['workers/promotion/a.ts', '../coupon/x.ts'],
    ['workers/promotion/a.ts', '../../stacks/x.ts'],
    ['workers/coupon/a.ts', '../promotion/events.ts'],
  ] as const;
  t.deepEqual(
    refusedImports(forbidden),
    forbidden.map(([file, from]) => `${file} <- ${from}`),
  );
});
