import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { DrillReport } from '../drill.ts';
import { compareReports, comparisonTable, findRun } from './compare.ts';
import { readHistory, renderHistory } from './history.ts';
import { failedReport, passedReport } from './sample.fixture.ts';

/** What became better or worse. */
function judge(before: DrillReport, after: DrillReport): Readonly<Record<string, string>> {
  return Object.fromEntries(
    compareReports(before, after)
      .filter(({ judgement }) => judgement !== 'same')
      .map(({ what, judgement }) => [what, judgement]),
  );
}

test('less is better, more is worse, and the same is neither', (t) => {
  t.deepEqual(judge(passedReport, passedReport), {});
  const slower: DrillReport = {
    ...passedReport,
    rtoMs: 6_000,
    detectionMs: 90_000,
    failed: 3,
    latencyMs: { p50: 200, p99: 900, max: 9_000 },
    rpo: { lost: 1, oldestLostAgeMs: 12 },
    verdicts: failedReport.verdicts,
    passed: false,
  };
  const all = ['verdict', 'RTO', 'detection', 'lost', 'duplicates', 'findings', 'failed for good'];
  const times = ['p50', 'p99', 'slowest'];
  const each = (word: string) => Object.fromEntries([...all, ...times].map((what) => [what, word]));
  t.deepEqual(judge(passedReport, slower), each('worse'));
  t.deepEqual(judge(slower, passedReport), each('better'));
});

test('differences within what can be told apart are none', (t) => {
  const latencyMs = { ...passedReport.latencyMs, p99: passedReport.latencyMs.p99 + 5 };
  t.deepEqual(judge(passedReport, { ...passedReport, rtoMs: 4_100, detectionMs: 61_000, latencyMs }), {});
  t.deepEqual(judge(passedReport, { ...passedReport, rtoMs: 4_400 }), { RTO: 'worse' });
});

test('no outage is better than any, and no page is worse only where one was promised', (t) => {
  t.deepEqual(judge(passedReport, { ...passedReport, rtoMs: undefined }), { RTO: 'better' });
  t.deepEqual(judge(passedReport, { ...passedReport, detectionMs: undefined }), { detection: 'worse' });
  t.deepEqual(judge({ ...passedReport, detectionMs: undefined }, passedReport), { detection: 'better' });
  t.deepEqual(judge(failedReport, { ...failedReport, detectionMs: 40_000 }), { detection: 'differs' });
});

test('the table says what is better and what else is not the same', (t) => {
  const after = { ...passedReport, rtoMs: 2_000, context: { ...passedReport.context, commit: 'fffffff' } };
  const text = comparisonTable(
    { folder: 'a', report: passedReport },
    { folder: 'b', report: after },
    (_, words) => words,
  );
  t.regex(text, /RTO +3\.9 s +2\.0 s +▲ better/);
  t.regex(text, /p99 +61 ms +61 ms += same/);
  t.regex(text, /commit: a1b2c3d -> fffffff/);
  t.notRegex(text, /machine:/);
});

async function historyFolder(t: import('ava').ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-drills-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const files = {
    '1-broker-2-killed': JSON.stringify(passedReport),
    '2-broker-2-killed': JSON.stringify({
      ...passedReport,
      startedAtMs: passedReport.startedAtMs + 9,
      rtoMs: 1,
    }),
    '3-worker-killed': JSON.stringify(failedReport),
    '4-cut-off': JSON.stringify(passedReport).slice(0, 500),
    '5-other': '{"drill": "<b>"}',
    '6-nothing': 'null',
    '8-half': JSON.stringify({ ...passedReport, rpo: undefined }),
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, 'report.json'), text);
  }
  await mkdir(join(folder, '7-without-report'));
  await writeFile(join(folder, 'index.html'), 'old');
  return folder;
}

test('a file that is no report is named in the history, and hides no other run', async (t) => {
  const history = await readHistory(await historyFolder(t));
  t.deepEqual(history.runs.map(({ folder }) => folder).sort(), [
    '1-broker-2-killed',
    '2-broker-2-killed',
    '3-worker-killed',
  ]);
  t.deepEqual(history.broken.map(({ folder }) => folder).sort(), [
    '4-cut-off',
    '5-other',
    '6-nothing',
    '8-half',
  ]);
  const html = renderHistory('ci', history);
  for (const { folder } of history.runs) t.true(html.includes(`href="${folder}/report.html"`), folder);
  for (const { folder } of history.broken) t.true(html.includes(folder), folder);
  t.notRegex(html, /<script|<link|src=|https?:|NaN|undefined/);
});

test('before the first drill the history is empty', async (t) => {
  const history = await readHistory(join(tmpdir(), 'muster-drills-that-are-not-there'));
  t.deepEqual(history, { runs: [], broken: [] });
  t.regex(renderHistory('ci', history), /No drill has run yet/);
});

test('a run is found by its folder, by its name, and as the newest of its drill', async (t) => {
  const folder = await historyFolder(t);
  t.is((await findRun(join(folder, '3-worker-killed'), folder)).report.drill, 'worker-killed');
  t.is((await findRun('1-broker-2-killed', folder)).report.rtoMs, 3_900);
  t.is((await findRun('broker-2-killed', folder)).report.rtoMs, 1);
  await t.throwsAsync(findRun('broker-9-killed', folder), {
    code: 'MUSTER_USAGE',
    message: /broker-2-killed, worker-killed/,
  });
  await t.throwsAsync(findRun('4-cut-off', folder), { code: 'MUSTER_DRILL_REPORT' });
});
