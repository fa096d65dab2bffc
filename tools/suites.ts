/** The test suites of ./muster test: static checks, unit, integration and end-to-end, each on AVA, and what runs beside what. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { killChildren, run } from '../environment/children.ts';
import { interrupted } from '../environment/interruption.ts';
import { checkout } from '../environment/paths.ts';
import { tapReader } from './tap.ts';
import { paint, say } from './terminal.ts';

/** Counts over everything that ran; static checks count as tests. */
export class Score {
  passed = 0;
  failed = 0;
  readonly failures: string[] = [];
  /** Tests that passed at the second try only. */
  readonly unsteady: string[] = [];

  pass(): void {
    this.passed += 1;
  }
  fail(title: string): void {
    this.failed += 1;
    this.failures.push(title);
  }
}

const tick = paint('green', '✔');
const cross = paint('red', '✖');

function seconds(sinceMs: number): string {
  return paint('dim', `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`);
}

/** A check that passes when `action` returns nothing and fails with what it returns. */
export async function check(
  score: Score,
  title: string,
  action: () => Promise<string | undefined>,
): Promise<boolean> {
  const startedAt = performance.now();
  const problem = await action();
  if (problem === undefined) {
    score.pass();
    say(`  ${tick} ${title} ${seconds(startedAt)}`);
    return true;
  }
  score.fail(title);
  say(`  ${cross} ${title} ${seconds(startedAt)}`);
  for (const line of problem.split('\n')) say(`      ${line}`);
  return false;
}

/** tsc, Biome and knip. */
export async function staticChecks(score: Score, signal: AbortSignal): Promise<void> {
  const checks = [
    ['types (tsc)', 'tsc', ['--pretty', 'false']],
    ['style and arrows (biome)', 'biome', ['check', '--colors=off', '--max-diagnostics=10', '.']],
    ['nothing unused (knip)', 'knip', ['--no-progress']],
  ] as const;
  for (const [title, program, args] of checks) {
    await check(score, title, async () => {
      const result = await run(join(checkout, 'node_modules/.bin', program), args, { cwd: checkout, signal });
      if (signal.aborted) throw interrupted();
      return result.exitCode === 0 ? undefined : `${result.stdout}\n${result.stderr}`.trim();
    });
  }
}

/** Test files of the checkout whose name ends with `ending`, relative; unit tests are those with neither other ending. */
export async function testFiles(kind: 'unit' | 'integration' | 'e2e'): Promise<readonly string[]> {
  const rooms = [
    'catalog',
    'stacks',
    'workers',
    'dashboards',
    'alerts',
    'drills',
    'bench',
    'environment',
    'drawing',
    'tools',
    'test',
  ];
  const all = await Promise.all(
    rooms.map(async (room) =>
      (await readdir(join(checkout, room), { recursive: true }).catch(() => [] as string[])).map((file) =>
        join(room, file),
      ),
    ),
  );
  const isIntegration = (file: string) => file.endsWith('.integration.test.ts');
  const isEndToEnd = (file: string) => file.startsWith('test/');
  return all
    .flat()
    .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules/'))
    .filter((file) =>
      kind === 'e2e'
        ? isEndToEnd(file)
        : kind === 'integration'
          ? isIntegration(file) && !isEndToEnd(file)
          : !isIntegration(file) && !isEndToEnd(file),
    )
    .sort();
}

/** Tests that run one after the other, while those of other lanes do so beside them. */
export interface Lane {
  readonly files: readonly string[];
  /** Differs from what all have. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Long integration tests that need no broker and no container, only databases and keys that they make themselves: they run beside
 * those that wait for brokers. One that is not named here runs with those, which is right for every test.
 */
const ofStoresOnly = [
  'drills/checker/promises',
  'drills/loads/delivery',
  'drills/loads/money',
  'drills/loads/pay',
  'workers/banking/banking',
  'workers/delivery/delivery',
  'workers/delivery/workers',
  'workers/membership/routes',
  'workers/payment/payments',
  'workers/remittance/remittances',
  'workers/retention/retention',
  'workers/settlement/settlements',
].map((path) => `${path}.integration.test.ts`);

/** Needs processors for minutes, the last in the queue for them, and nothing of the environment but the image of Prometheus. */
const rulesProof = 'alerts/alerts.integration.test.ts';

/** Lanes that run at the same time. */
export interface Phase {
  readonly title: string;
  readonly lanes: readonly Lane[];
}

/** What runs on an environment, in this order. `suite`: all of it, or the tests of one kind. */
export async function phasesOf(suite: 'all' | 'integration' | 'e2e'): Promise<readonly Phase[]> {
  const [endToEnd, integration] = await Promise.all([testFiles('e2e'), testFiles('integration')]);
  const unknown = [...ofStoresOnly, rulesProof].filter((file) => !integration.includes(file));
  if (unknown.length > 0) throw new Error(`no such integration test: ${unknown.join(', ')}`);
  // The end-to-end tests mostly wait for alerts and for faults to heal.
  const beside = suite === 'all' ? [rulesProof] : [];
  const others = integration.filter((file) => !ofStoresOnly.includes(file) && !beside.includes(file));
  // End-to-end first: alerts look back on minutes and hours, and must not see what integration tests have broken.
  const phases = {
    e2e: { title: 'End-to-end tests', lanes: [endToEnd, beside].map((files) => ({ files })) },
    integration: {
      title: 'Integration tests',
      // Nobody listens there: whoever needs a broker after all fails always, and not when another test has killed one.
      lanes: [{ files: others }, { files: ofStoresOnly, env: { KAFKA_BROKERS: '127.0.0.1:1' } }],
    },
  };
  return suite === 'all' ? Object.values(phases) : [phases[suite]];
}

/** The part of a title that names its file: AVA puts the path, in pieces, before the test's own words. */
function fileOf(title: string): string | undefined {
  const pieces = title.split(' › ');
  const words = pieces.findIndex((piece) => !/^[\w.-]+$/.test(piece));
  const path = pieces.slice(0, words === -1 ? -1 : words);
  return path.length === 0 ? undefined : path.join('/');
}

/** A title without the path before it. */
function wordsOf(title: string): string {
  const path = fileOf(title)?.split('/').length ?? 0;
  return title.split(' › ').slice(path).join(' › ');
}

/** The file of `files` that a title belongs to; AVA leaves out the folders that all of them share. */
export function fileOfTitle(title: string, files: readonly string[]): string | undefined {
  const named = fileOf(title);
  return named === undefined ? undefined : files.find((file) => `/${file}`.endsWith(`/${named}.test.ts`));
}

/**
 * Runs AVA on the files of each lane, and when all are through the file of a failed test once more, alone: on a shared machine
 * a broker may be slow at the wrong moment, and one test in five hundred must not hide what the others say. What passes at the
 * second try only is named at the end: it is a bug, of the test or of what it tests. `runOnce`: another way to run them, for a
 * test of this.
 */
export async function runAvaTwice(
  score: Score,
  lanes: readonly Lane[],
  options: AvaOptions,
  runOnce = runAva,
): Promise<void> {
  const running = lanes.map(async ({ files, env }) => {
    const first = new Score();
    const own = { ...options, env: { ...options.env, ...env } };
    await runOnce(first, files, own);
    return { files, first, again: (second: Score, file: string) => runOnce(second, [file], own) };
  });
  // When one is broken off, none of the others goes on behind it.
  await Promise.allSettled(running);
  for (const { files, first, again } of await Promise.all(running)) {
    score.passed += first.passed;
    await secondTry(score, first.failures, files, again);
  }
}

async function secondTry(
  score: Score,
  failures: readonly string[],
  files: readonly string[],
  again: (second: Score, file: string) => Promise<void>,
): Promise<void> {
  const failedOf = new Map<string, string[]>();
  for (const title of failures) {
    const file = fileOfTitle(title, files);
    if (file === undefined) score.fail(title);
    else failedOf.set(file, [...(failedOf.get(file) ?? []), title]);
  }
  for (const [file, titles] of failedOf) {
    say(`\n  Once more: ${file}`);
    const second = new Score();
    await again(second, file);
    for (const title of titles) {
      // Run alone, a file's titles have no path; one that broke off as a whole fails as a whole.
      const passed = second.passed > 0 && !second.failures.some((failed) => failed === wordsOf(title));
      if (passed) {
        score.pass();
        score.unsteady.push(title);
      } else score.fail(title);
    }
    for (const failed of second.failures)
      if (!titles.some((title) => wordsOf(title) === failed)) score.fail(failed);
  }
}

/** Without a finished test for so long something hangs: it is ended, and what had finished counts. */
const silenceMs = { unit: 4 * 60_000, serial: 25 * 60_000 };

export interface AvaOptions {
  readonly signal: AbortSignal;
  /** AVA's --match pattern. */
  readonly match: string | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** One test after the other, each told as it ends: for tests that share an environment. */
  readonly serial?: boolean;
}

/** Runs AVA on the files; failures are printed with their details as they come. */
export async function runAva(score: Score, files: readonly string[], options: AvaOptions): Promise<void> {
  const { signal, serial = false } = options;
  if (files.length === 0) return;
  const startedAt = performance.now();
  const perFile = new Map<string, number>();
  let live = 0;
  const status = (): void => {
    if (process.stdout.isTTY && !serial) process.stdout.write(`\r\u001B[K  ${live} passed ...`);
  };
  const clear = (): void => {
    if (process.stdout.isTTY && !serial) process.stdout.write('\r\u001B[K');
  };
  const onLog = (text: string): void => {
    if (serial) say(`      ${paint('dim', text)}`);
  };
  const tap = tapReader((title, ok, details) => {
    if (ok) {
      live += 1;
      score.pass();
      const file = fileOf(title) ?? files[0]!;
      perFile.set(file, (perFile.get(file) ?? 0) + 1);
      if (serial) say(`  ${tick} ${title}`);
      else status();
      return;
    }
    clear();
    score.fail(title);
    say(`  ${cross} ${title}`);
    for (const line of details) say(`    ${line}`);
  }, onLog);
  const said: string[] = [];
  const args = [
    'node_modules/ava/entrypoints/cli.js',
    '--tap',
    ...(serial ? ['--serial', '--timeout=20m'] : []),
    ...(options.match === undefined ? [] : [`--match=${options.match}`]),
    ...files,
  ];
  const silence = new AbortController();
  const allowedMs = silenceMs[serial ? 'serial' : 'unit'];
  let watchdog: NodeJS.Timeout | undefined;
  const stir = (): void => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => silence.abort(), allowedMs);
  };
  stir();
  // A heartbeat for logs of CI, where silence looks like a hang.
  const heartbeat = setInterval(() => {
    if (!process.stdout.isTTY && !serial)
      say(`  ... ${live} passed so far (${Math.round((performance.now() - startedAt) / 1000)} s)`);
  }, 30_000);
  const result = await run(process.execPath, args, {
    cwd: checkout,
    signal: AbortSignal.any([signal, silence.signal]),
    graceMs: 10_000,
    env: { ...options.env, NODE_NO_WARNINGS: '1', FORCE_COLOR: '0' },
    onLine(line, from) {
      stir();
      if (from === 'stdout') tap.line(line);
      else {
        said.push(line);
        // From test/left-open.ts: no failure, and not to be passed over.
        if (line.startsWith('left open: ')) say(`  ! ${line}`);
      }
    },
  }).finally(() => {
    clearInterval(heartbeat);
    clearTimeout(watchdog);
  });
  clear();
  if (silence.signal.aborted) {
    score.fail(`tests hang: nothing finished for ${allowedMs / 60_000} minutes`);
    say(`  ${cross} nothing finished for ${allowedMs / 60_000} minutes, so the run was ended`);
  }
  if (signal.aborted) {
    killChildren();
    throw interrupted();
  }
  const { passed, failed, skipped } = tap.end();
  if (result.exitCode !== 0 && failed === 0 && !silence.signal.aborted) {
    // With --match it is no failure that a file has nothing that matches.
    const nothingMatched =
      options.match !== undefined && /No tests found|Couldn.t find any/i.test(said.join('\n'));
    if (!nothingMatched) {
      score.fail(`ava ended with ${result.exitCode}`);
      say(`  ${cross} ava ended with ${result.exitCode}`);
      for (const line of [...said, result.stdout].join('\n').split('\n').slice(-30)) say(`    ${line}`);
    }
  }
  if (!serial)
    for (const [file, count] of [...perFile].sort()) say(`  ${tick} ${file} ${paint('dim', String(count))}`);
  const skips = skipped === 0 ? '' : `, ${skipped} skipped`;
  say(`  ${passed} passed, ${failed} failed${skips} ${seconds(startedAt)}`);
}
