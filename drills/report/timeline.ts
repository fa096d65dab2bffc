/** What happened when, as a reader looks at it: spans beside each other on one time axis. Pure. */
import type { DrillEvent, DrillReport } from '../drill.ts';

export interface Span {
  readonly row: 'load' | 'fault' | 'outage' | 'page' | 'alert';
  readonly what: string;
  readonly fromMs: number;
  /** undefined: it was still so when the drill ended. */
  readonly toMs: number | undefined;
}

export interface Timeline {
  /** From the first to the last moment of interest; waiting and checking afterwards is left out. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly spans: readonly Span[];
}

/** Spans of a report. A fault without a heal of its own (a crash, a restart) is a moment. */
export function timelineOf(report: DrillReport): Timeline {
  const events = [...report.events].sort((a, b) => a.atMs - b.atMs);
  const loads = events.filter(({ kind }) => kind === 'load');
  const loadFromMs = loads[0]?.atMs ?? report.startedAtMs;
  const loadToMs = loads.length > 1 ? loads.at(-1)!.atMs : report.endedAtMs;
  const faults = faultsOf(events);
  const outages = outagesOf(report, events);
  const first = faults[0];
  const spans: Span[] = [
    { row: 'load', what: 'load', fromMs: loadFromMs, toMs: loadToMs },
    ...faults,
    ...outages,
    ...(first === undefined || report.detectionMs === undefined
      ? []
      : [
          {
            row: 'page',
            what: 'until the first page',
            fromMs: first.fromMs,
            toMs: first.fromMs + report.detectionMs,
          } as const,
        ]),
    ...report.alerts.map(
      ({ name, firedAtMs, resolvedAtMs }): Span => ({
        row: 'alert',
        what: name,
        fromMs: firedAtMs,
        toMs: resolvedAtMs,
      }),
    ),
  ];
  // An alert that is over long after everything else must not squeeze the rest.
  const moments = spans
    .flatMap(({ row, fromMs, toMs }) => [fromMs, row === 'alert' ? fromMs : (toMs ?? fromMs)])
    .filter((atMs) => atMs <= report.endedAtMs);
  const fromMs = Math.min(loadFromMs, ...moments);
  const lastMs = Math.max(loadToMs, ...moments);
  return { fromMs, toMs: lastMs + Math.max(1_000, (lastMs - fromMs) * 0.02), spans };
}

/** The first fault, or the begin of the load when nothing was broken: from here times are counted. */
export function zeroOf(report: DrillReport): number {
  const at = (kind: DrillEvent['kind']) =>
    report.events
      .filter((event) => event.kind === kind)
      .reduce((first, { atMs }) => Math.min(first, atMs), Number.POSITIVE_INFINITY);
  return [at('fault'), at('load'), report.startedAtMs].find(Number.isFinite)!;
}

/** Each fault with the first heal after it that names the same part. */
function faultsOf(events: readonly DrillEvent[]): readonly Span[] {
  const heals = events.filter(({ kind }) => kind === 'heal');
  return events
    .filter(({ kind }) => kind === 'fault')
    .map(({ atMs, what }) => {
      const words = wordsOf(what);
      const index = heals.findIndex(
        (heal) => heal.atMs >= atMs && wordsOf(heal.what).some((word) => words.includes(word)),
      );
      const [heal] = index === -1 ? [] : heals.splice(index, 1);
      return { row: 'fault', what, fromMs: atMs, toMs: heal?.atMs ?? atMs };
    });
}

/** Words that can name a part. */
const wordsOf = (text: string): readonly string[] => text.match(/[a-z][\w-]{3,}/gi) ?? [];

/** From each disturbance to the recovery that names it. */
function outagesOf(report: DrillReport, events: readonly DrillEvent[]): readonly Span[] {
  const broken = events.filter(({ kind }) => kind === 'fault' || kind === 'heal');
  // Where nothing is broken (bad data), the load itself is what disturbs.
  const begin = events.find(({ kind }) => kind === 'load');
  const disturbances = broken.length > 0 || begin === undefined ? broken : [{ ...begin, what: 'load' }];
  const told = events.flatMap((event): Span[] => {
    if (event.kind !== 'recovered') return [];
    const cause = disturbances.findLast(
      ({ atMs, what }) => atMs <= event.atMs && event.what.includes(`after ${what}`),
    );
    if (cause === undefined) return [];
    const by = event.what.slice(event.what.indexOf(cause.what) + cause.what.length).replace(/^\W+/, '');
    return [{ row: 'outage', what: by, fromMs: cause.atMs, toMs: event.atMs }];
  });
  if (told.length > 0 || report.rtoMs === undefined) return told;
  const fromMs = disturbances[0]?.atMs ?? report.startedAtMs;
  return [{ row: 'outage', what: 'seen by the canary', fromMs, toMs: fromMs + report.rtoMs }];
}
