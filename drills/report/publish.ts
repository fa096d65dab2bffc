/** Writes a drill's report, as JSON and as a page, and the page about all runs beside it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Environment } from '../../catalog/environments.ts';
import { drawDashboards } from '../../drawing/index.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { DrillReport } from '../drill.ts';
import { readHistory, renderHistory } from './history.ts';
import { renderReport } from './html.ts';
import { timelineOf } from './timeline.ts';

export interface PublishOptions {
  /** For report.json and report.html. */
  readonly folder: string;
  /** Where all runs are; its index.html is made anew when the report lies in it. */
  readonly historyFolder: string;
  /** Its Prometheus is asked for the overview at the time of the drill; undefined: the page is made without. */
  readonly environment: Environment | undefined;
  readonly signal: AbortSignal;
}

/** Returns the path of report.html. A Prometheus that does not answer leaves the dashboards out. */
export async function publishReport(report: DrillReport, options: PublishOptions): Promise<string> {
  const { folder, historyFolder, environment, signal } = options;
  await mkdir(folder, { recursive: true });
  // First what cannot be made again.
  await writeFile(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  const inHistory = join(historyFolder, basename(folder)) === folder;
  const page = join(folder, 'report.html');
  const links = inHistory ? { historyHref: '../index.html' } : {};
  await writeFile(page, renderReport(report, links));
  if (inHistory)
    await writeFile(
      join(historyFolder, 'index.html'),
      renderHistory(report.environment, await readHistory(historyFolder)),
    );
  const dashboards = environment === undefined ? [] : await momentOf(report, environment, signal);
  if (dashboards.length > 0) await writeFile(page, renderReport(report, { ...links, dashboards }));
  return page;
}

/** The overview as it looked during the drill. */
async function momentOf(report: DrillReport, environment: Environment, signal: AbortSignal) {
  const { fromMs, toMs } = timelineOf(report);
  const marks = report.events
    .filter(({ kind }) => kind === 'fault' || kind === 'heal')
    .slice(0, 20)
    .map(({ atMs, kind, what }) => ({ timeMs: atMs, text: what, color: kind === 'fault' ? 'red' : 'green' }));
  const window = { fromMs: fromMs - 60_000, toMs };
  try {
    return await drawDashboards(environment, { window, dashboards: ['overview'], marks, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof MusterError && error.code.startsWith('MUSTER_PROMETHEUS')) return [];
    throw error;
  }
}
