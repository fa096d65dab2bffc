/** What Prometheus itself says about the rules: promtool from PATH, else from the image that environment ci runs. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { execa } from 'execa';
import { environments } from '../catalog/environments.ts';
import { renderRules, renderRuleTests, ruleGroups } from './index.ts';
import { mutants } from './promtool.ts';

// It has what others leave of the processors: ./muster test runs it beside them.
test.beforeEach((t) => t.timeout(1_200_000));

/** Runs a shell script among the files, with promtool on PATH. No folder is mounted: the engine may be far away. */
async function amongFiles(files: ReadonlyMap<string, string>, script: string) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-alerts-'));
  try {
    for (const [path, text] of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    const options = { reject: false, all: true } as const;
    const own = await execa('promtool', ['--version'], options);
    if (own.exitCode === 0)
      return await execa('nice', ['-n', '19', 'sh', '-c', script], { ...options, cwd: folder });
    const running = `${environments.ci.prefix}-prometheus`;
    const { stdout: image } = await execa('docker', ['inspect', running, '--format', '{{.Config.Image}}']);
    const inside = `mkdir /tmp/files && cd /tmp/files && tar x && ${script}`;
    const alone = ['--network', 'none', '--cpu-shares', '2'];
    const container = ['run', '--rm', '--interactive', ...alone, '--entrypoint', 'sh', image];
    return await execa(
      'sh',
      ['-c', 'tar c -C "$0" . | docker "$@"', folder, ...container, '-c', inside],
      options,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** promtool on every test file, several at a time, each for a handful of files: path -> whether it holds. */
async function verdicts(files: ReadonlyMap<string, string>, pattern: string) {
  const { all } = await amongFiles(
    files,
    `ls ${pattern} | xargs -P 2 -n 6 sh -c 'promtool test rules "$@" > /tmp/verdicts.$$ 2>&1' files; cat /tmp/verdicts.*; rm /tmp/verdicts.*`,
  );
  const found = all.matchAll(/Unit Testing:\s+(\S+)\s+(SUCCESS|FAILED)/g);
  return { of: new Map([...found].map(([, path, verdict]) => [path!, verdict === 'SUCCESS'])), all };
}

/** What ./muster render writes for Prometheus, a folder an environment. */
const rendered = new Map<string, string>(
  Object.values(environments).flatMap((environment) => [
    ...[...renderRules(environment)].map(
      ([name, text]) => [`${environment.name}/rules/${name}`, text] as const,
    ),
    ...[...renderRuleTests(environment)].map(
      ([name, text]) => [`${environment.name}/tests/${name}`, text] as const,
    ),
  ]),
);

test('promtool accepts all rules of all environments', async (t) => {
  const { exitCode, all } = await amongFiles(rendered, 'promtool check rules */rules/*.yml');
  t.is(exitCode, 0, all);
  const files = [...rendered.keys()].filter((path) => path.includes('/rules/'));
  t.is(all.split('SUCCESS').length - 1, files.length, all);
});

test('every alert fires when it should, stays quiet when it should, and holds its `for`', async (t) => {
  // Most groups are the same everywhere: what has been judged once is not judged again.
  const ruleFile = (path: string) => path.replace('/tests/', '/rules/').replace(/-\d+[smhd]\.yml$/, '.yml');
  const distinct = new Map(
    [...rendered]
      .filter(([path]) => path.includes('/tests/'))
      .map(([path, text]) => [`${text}${rendered.get(ruleFile(path))}`, path]),
  );
  const files = [...distinct.values()];
  t.true(files.length > ruleGroups(environments.ci).length, String(files));
  const { of, all } = await verdicts(rendered, files.join(' '));
  t.deepEqual(
    files.filter((path) => of.get(path) !== true),
    [],
    all,
  );
});

test('a rule made wrong in any way is caught by its proofs', async (t) => {
  const all = ruleGroups(environments.ci).flatMap(mutants);
  t.true(all.length > 150, `${all.length} mutants`);
  const files = new Map(
    all.flatMap(({ title, rules, tests }) => [
      [`${title}/rules.yml`, rules] as const,
      ...tests.map((text, index) => [`${title}/test-${index}.yml`, text] as const),
    ]),
  );
  const { of } = await verdicts(files, '*/test-*.yml');
  const testsOf = (title: string) => [...of].filter(([path]) => path.startsWith(`${title}/`));
  const titles = all.map(({ title }) => title);
  t.deepEqual(
    titles.filter((title) => testsOf(title).length === 0),
    [],
    'not judged',
  );
  t.deepEqual(
    titles.filter((title) => testsOf(title).every(([, holds]) => holds)),
    [],
    'survived',
  );
});
