/** All runs of an environment's drills: read from their folders, and drawn as one page. Nothing is ever deleted. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { escapeHtml } from '../../drawing/panels.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { DrillReport } from '../drill.ts';
import { boundMs, documentOf, doubledOf, findingsOf, seconds, utc } from './page.ts';

export interface Run {
  /** Name of its folder, `<time>-<drill>`. */
  readonly folder: string;
  readonly report: DrillReport;
}

export interface History {
  /** Oldest first. */
  readonly runs: readonly Run[];
  /** Folders whose report.json cannot be read, and why: of a run that was killed, or of an older form. */
  readonly broken: readonly { readonly folder: string; readonly why: string }[];
}

/** Reads `<folder>/*` `/report.json`. A folder without one is no run; one that cannot be read does not hide the others. */
export async function readHistory(folder: string): Promise<History> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const runs: Run[] = [];
  const broken: { folder: string; why: string }[] = [];
  for (const entry of entries.filter((one) => one.isDirectory())) {
    try {
      runs.push({ folder: entry.name, report: await readReport(join(folder, entry.name)) });
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') broken.push({ folder: entry.name, why: message });
    }
  }
  runs.sort((a, b) => a.report.startedAtMs - b.report.startedAtMs);
  return { runs, broken };
}

/** The report in a run's folder. Throws ENOENT, or MUSTER_DRILL_REPORT when it is not one. */
export async function readReport(folder: string): Promise<DrillReport> {
  const path = join(folder, 'report.json');
  const text = await readFile(path, 'utf8');
  const wrong = (why: string, cause?: unknown) =>
    new MusterError('MUSTER_DRILL_REPORT', `${path} is no drill report: ${why}.`, { cause });
  let value: Partial<DrillReport> | null;
  try {
    value = JSON.parse(text) as Partial<DrillReport> | null;
  } catch (error) {
    throw wrong('not JSON', error);
  }
  const missing = [
    ...(['drill', 'environment'] as const).filter((name) => typeof value?.[name] !== 'string'),
    ...(['startedAtMs', 'endedAtMs', 'sent', 'failed'] as const).filter(
      (name) => typeof value?.[name] !== 'number',
    ),
    ...(['events', 'curves', 'alerts', 'verdicts', 'targets'] as const).filter(
      (name) => !Array.isArray(value?.[name]),
    ),
    ...(['context', 'rpo', 'latencyMs'] as const).filter(
      (name) => typeof value?.[name] !== 'object' || value[name] === null,
    ),
  ];
  if (missing.length > 0) throw wrong(`without ${missing.join(', ')}`);
  return value as DrillReport;
}

const barsAtMost = 40;

/** The page about all runs; its links go to `<folder>/report.html` beside it. Pure. */
export function renderHistory(environment: string, { runs, broken }: History): string {
  const byDrill = new Map<string, Run[]>();
  for (const run of runs) byDrill.set(run.report.drill, [...(byDrill.get(run.report.drill) ?? []), run]);
  const cards = [...byDrill].sort(([a], [b]) => a.localeCompare(b)).map(([name, own]) => card(name, own));
  const newest = [...byDrill.values()].map((own) => own.at(-1)!.report);
  const failing = newest.filter(({ passed }) => !passed).length;
  const stamp =
    newest.length === 0
      ? ''
      : `<span class="stamp ${failing === 0 ? 'good' : 'bad'}">${failing === 0 ? `✔ the newest run of all ${newest.length} drills passed` : `✖ the newest run of ${failing} of ${newest.length} drills failed`}</span>`;
  const said = broken.map(({ folder, why }) => `<li><b>${escapeHtml(folder)}</b>: ${escapeHtml(why)}</li>`);
  const body = [
    `<header><div class="title"><h1>Drills of ${escapeHtml(environment)}</h1>${stamp}</div><p class="about">${runs.length} runs. Each bar is one run, the oldest at the left, and leads to its report; the dashed line is the target.</p></header>`,
    runs.length === 0 ? '<p class="weak">No drill has run yet: ./muster drill list</p>' : '',
    `<div class="cards" style="margin-top:20px">${cards.join('')}</div>`,
    runs.length === 0 ? '' : tableOf(runs),
    said.length === 0
      ? ''
      : `<h2>Could not be read</h2><ul class="missed" style="list-style:none">${said.join('')}</ul>`,
  ];
  return documentOf(`Drills of ${environment}`, body.join('\n'));
}

function card(name: string, runs: readonly Run[]): string {
  const shown = runs.slice(-barsAtMost);
  const { report } = shown.at(-1)!;
  const bound = (prefix: string) => {
    const found = report.targets.find((one) => one.name.startsWith(prefix));
    return found === undefined ? undefined : boundMs(found.target);
  };
  const passed = runs.filter((run) => run.report.passed).length;
  return `<article class="card"><h3><span>${escapeHtml(name)}</span><span class="${report.passed ? 'good' : 'bad'}">${report.passed ? '✔' : '✖'} ${passed} of ${runs.length} passed</span></h3><div class="pair">
<div><p>RTO <b>${seconds(report.rtoMs, 'no outage')}</b></p>${bars(shown, ({ rtoMs = 0 }) => rtoMs, bound('RTO'))}</div>
<div><p>detection <b>${seconds(report.detectionMs, 'no page')}</b></p>${bars(shown, ({ detectionMs }) => detectionMs, bound('alert '))}</div></div></article>`;
}

/** A run without a value has a dotted foot instead of a bar. */
function bars(
  runs: readonly Run[],
  figureOf: (report: DrillReport) => number | undefined,
  target: number | undefined,
): string {
  const values = runs.map(({ report }) => figureOf(report) ?? 0);
  const top = Math.max(1, target ?? 0, ...values) * 1.1;
  const percent = (ms: number) => `${((ms / top) * 100).toFixed(1)}%`;
  const drawn = runs.map(({ folder, report }) => {
    const value = figureOf(report);
    const state = value === undefined ? 'none' : target !== undefined && value > target ? 'bad' : 'good';
    const title = `${utc(report.startedAtMs)}: ${seconds(value)}`;
    return `<a class="${state}" href="${hrefOf(folder)}" title="${title}" aria-label="${title}"><i style="height:${percent(value ?? 0)}"></i></a>`;
  });
  const line =
    target === undefined || target === 0 ? '' : `<u style="bottom:${percent(target)}" title="target"></u>`;
  const said =
    target === undefined ? 'no target' : target === 0 ? 'target: no outage' : `target ≤ ${seconds(target)}`;
  return `<div class="runs">${drawn.join('')}${line}</div><p>${said}</p>`;
}

const hrefOf = (folder: string): string => `${encodeURIComponent(folder)}/report.html`;

function tableOf(runs: readonly Run[]): string {
  const rows = [...runs].reverse().map(({ folder, report }) => {
    const { drill, startedAtMs, rtoMs, rpo, detectionMs, latencyMs, passed, targets, context } = report;
    const missed = targets.filter(({ met }) => !met).map(({ name }) => name);
    const cells = [
      seconds(rtoMs),
      String(rpo.lost),
      seconds(detectionMs),
      String(doubledOf(report)),
      String(findingsOf(report)),
      `${Math.round(latencyMs.p99)} ms`,
    ].map((text) => `<td class="n">${text}</td>`);
    return `<tr><td class="t"><a href="${hrefOf(folder)}">${utc(startedAtMs)}</a></td><td class="t">${escapeHtml(drill)}</td>${cells.join('')}<td class="${passed ? 'good' : 'bad'}">${passed ? '✔ passed' : `✖ ${escapeHtml(missed.join(', '))}`}</td><td class="t weak">${escapeHtml(context.commit ?? '')}</td></tr>`;
  });
  const numbers = ['RTO', 'lost', 'detection', 'doubled', 'findings', 'p99'];
  return `<h2>All runs</h2><div class="box"><div class="scroll"><table><thead><tr><th>started</th><th>drill</th>${numbers.map((title) => `<th class="n">${title}</th>`).join('')}<th>verdict</th><th>commit</th></tr></thead><tbody>${rows.join('')}</tbody></table></div></div>`;
}
