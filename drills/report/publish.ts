/** Writes a drill's report, as JSON and as a page. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment } from '../../catalog/environments.ts';
import { drawDashboards } from '../../drawing/index.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { DrillReport } from '../drill.ts';
import { renderReport } from './html.ts';
import { timelineOf } from './timeline.ts';

export interface PublishOptions {
  /** For report.json and report.html. */
  readonly folder: string;
  /** Its Prometheus is asked for the overview at the time of the drill. */
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

/** A Prometheus that does not answer leaves the dashboards out. */
export async function publishReport(report: DrillReport, options: PublishOptions): Promise<void> {
  const { folder, environment, signal } = options;
  await mkdir(folder, { recursive: true });
  // First what cannot be made again.
  await writeFile(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  const page = join(folder, 'report.html');
  await writeFile(page, renderReport(report));
  const dashboards = await momentOf(report, environment, signal);
  if (dashboards.length > 0) await writeFile(page, renderReport(report, dashboards));
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
