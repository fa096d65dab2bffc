/** A trace as a tree with times, from the JSON of Jaeger's query API. Pure. */
import { styleText } from 'node:util';

/** The parts that we use of what `GET /api/traces/<id>` answers. Times in microseconds. */
export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
}
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly startTime: number;
  readonly duration: number;
  readonly processID: string;
  readonly references?: readonly {
    readonly refType: 'CHILD_OF' | 'FOLLOWS_FROM';
    readonly traceID: string;
    readonly spanID: string;
  }[];
  readonly tags?: readonly { readonly key: string; readonly value: unknown }[];
}

export interface TraceNode {
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  readonly service: string;
  /** Microseconds since the start of the whole tree. */
  readonly offsetUs: number;
  readonly durationUs: number;
  /** What went wrong; undefined when nothing did. */
  readonly error: string | undefined;
  readonly attributes: readonly { readonly key: string; readonly value: unknown }[];
  /** Spans that it names beside the one that it hangs below: a batch those of its messages. */
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** Hangs below its parent by a span link, not as a child. */
  readonly byLink: boolean;
  /** Its parent was not among the spans: lost, or not written yet. */
  readonly orphan: boolean;
  readonly children: readonly TraceNode[];
}

export interface TraceTree {
  readonly traceIds: readonly string[];
  readonly startedAtMs: number;
  readonly durationUs: number;
  readonly spans: number;
  readonly services: readonly string[];
  readonly roots: readonly TraceNode[];
}

/** Ids of other traces that spans of these link to. */
export function linkedTraceIds(traces: readonly JaegerTrace[]): readonly string[] {
  const known = new Set(traces.map(({ traceID }) => traceID));
  const ids = traces.flatMap(({ spans }) =>
    spans.flatMap(({ references = [] }) => references.map(({ traceID }) => traceID)),
  );
  return [...new Set(ids)].filter((id) => !known.has(id));
}

/** Whether every span's parent is there, so that nothing is still on its way to Jaeger. */
export function isComplete(trace: JaegerTrace): boolean {
  const ids = new Set(trace.spans.map(({ spanID }) => spanID));
  return trace.spans.every(({ references = [] }) =>
    references.every(
      ({ refType, traceID, spanID }) =>
        refType !== 'CHILD_OF' || traceID !== trace.traceID || ids.has(spanID),
    ),
  );
}

/** Builds the tree over one trace and those it is linked with. Cycles of links cannot hang it. */
export function buildTree(traces: readonly JaegerTrace[]): TraceTree {
  const entries = traces.flatMap((trace) =>
    trace.spans.map((span) => ({
      span,
      key: `${span.traceID}:${span.spanID}`,
      service: trace.processes[span.processID]?.serviceName ?? '?',
    })),
  );
  const known = new Map(entries.map((entry) => [entry.key, entry]));
  const parentOf = (span: JaegerSpan): { key: string; byLink: boolean } | undefined => {
    const refs = span.references ?? [];
    // A parent comes first; a link only where there is no parent.
    for (const type of ['CHILD_OF', 'FOLLOWS_FROM'] as const) {
      for (const ref of refs) {
        const key = `${ref.traceID}:${ref.spanID}`;
        // Jaeger shows a parent that is linked as well as a link only; another trace can never be the parent.
        if (ref.refType === type && known.has(key)) return { key, byLink: ref.traceID !== span.traceID };
      }
      if (type === 'CHILD_OF' && refs.some(({ refType }) => refType === 'CHILD_OF')) return undefined;
    }
    return undefined;
  };
  const childrenOf = new Map<string, typeof entries>();
  const roots: typeof entries = [];
  for (const entry of entries) {
    const parent = parentOf(entry.span);
    if (parent === undefined || parent.key === entry.key) roots.push(entry);
    else childrenOf.set(parent.key, [...(childrenOf.get(parent.key) ?? []), entry]);
  }
  const startUs = Math.min(...entries.map(({ span }) => span.startTime));
  const endUs = Math.max(...entries.map(({ span }) => span.startTime + span.duration));
  const visited = new Set<string>();
  const byStart = (a: (typeof entries)[number], b: (typeof entries)[number]) =>
    a.span.startTime - b.span.startTime;
  const node = (entry: (typeof entries)[number]): TraceNode => {
    visited.add(entry.key);
    const { span } = entry;
    const children = (childrenOf.get(entry.key) ?? []).filter(({ key }) => !visited.has(key));
    return {
      traceId: span.traceID,
      spanId: span.spanID,
      name: span.operationName,
      service: entry.service,
      offsetUs: span.startTime - startUs,
      durationUs: span.duration,
      error: errorOf(span),
      attributes: span.tags ?? [],
      links: (span.references ?? [])
        .filter(({ traceID, spanID }) => `${traceID}:${spanID}` !== parentOf(span)?.key)
        .filter(({ refType }) => refType === 'FOLLOWS_FROM')
        .map(({ traceID, spanID }) => ({ traceId: traceID, spanId: spanID })),
      byLink: parentOf(span)?.byLink === true,
      orphan:
        parentOf(span) === undefined && (span.references ?? []).some(({ refType }) => refType === 'CHILD_OF'),
      children: children.sort(byStart).map(node),
    };
  };
  const tops = roots.sort(byStart).map(node);
  // Only links that run in a circle leave spans without a root.
  for (const entry of entries.sort(byStart)) if (!visited.has(entry.key)) tops.push(node(entry));
  return {
    traceIds: traces.map(({ traceID }) => traceID),
    startedAtMs: entries.length === 0 ? 0 : startUs / 1000,
    durationUs: entries.length === 0 ? 0 : endUs - startUs,
    spans: entries.length,
    services: [...new Set(entries.map(({ service }) => service))],
    roots: tops,
  };
}

/** What went wrong in a span; undefined when nothing did. */
export function errorOf(span: JaegerSpan): string | undefined {
  const tag = (name: string) => span.tags?.find(({ key }) => key === name)?.value;
  const failed = tag('error') === true || tag('error') === 'true' || tag('otel.status_code') === 'ERROR';
  if (!failed) return undefined;
  const detail = tag('otel.status_description') ?? tag('error.type') ?? tag('exception.message');
  return detail === undefined ? 'error' : String(detail);
}

/** `812 µs`, `12.3 ms`, `1.50 s`: three digits are enough for people. */
export function duration(us: number): string {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1_000_000) return `${(us / 1000).toFixed(us < 100_000 ? 1 : 0)} ms`;
  return `${(us / 1_000_000).toFixed(2)} s`;
}

const palette = ['cyan', 'green', 'yellow', 'magenta', 'blue', 'gray'] as const;

/** Prints the tree; `width` is the terminal's. */
export function renderTree(tree: TraceTree, options: { colour: boolean; width: number }): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string =>
    options.colour ? styleText(format, text, { validateStream: false }) : text;
  const barWidth = Math.max(12, Math.min(32, options.width - 80));
  const serviceWidth = Math.max(7, ...tree.services.map((service) => service.length));
  const rows: string[] = [];
  const draw = (node: TraceNode, indent: string, branch: string): void => {
    const scale = tree.durationUs === 0 ? 0 : barWidth / tree.durationUs;
    const from = Math.min(barWidth - 1, Math.floor(node.offsetUs * scale));
    const cells = Math.max(1, Math.min(barWidth - from, Math.round(node.durationUs * scale)));
    const bar = ' '.repeat(from) + '━'.repeat(cells) + ' '.repeat(barWidth - from - cells);
    const colour = palette[tree.services.indexOf(node.service) % palette.length] ?? 'cyan';
    const notes = [
      node.byLink ? paint('dim', ' (by link)') : '',
      node.orphan ? paint('dim', ' (its parent is missing)') : '',
      node.error === undefined ? '' : paint('red', ` ✖ ${node.error}`),
    ].join('');
    rows.push(
      [
        `+${duration(node.offsetUs)}`.padStart(9),
        duration(node.durationUs).padStart(8),
        paint(node.error === undefined ? colour : 'red', bar),
        paint(colour, node.service.padEnd(serviceWidth)),
        `${paint('dim', indent + branch)}${node.name}${notes}`,
      ].join('  '),
    );
    const below = indent + (branch === '' ? '' : branch === '├─ ' ? '│  ' : '   ');
    node.children.forEach((child, index) => {
      draw(child, below, index === node.children.length - 1 ? '└─ ' : '├─ ');
    });
  };
  for (const root of tree.roots) draw(root, '', '');
  const head = [
    `trace ${tree.traceIds.join(' + ')}`,
    `${tree.spans} spans`,
    tree.services.join(', '),
    duration(tree.durationUs),
    new Date(tree.startedAtMs).toISOString(),
  ].join(' · ');
  const columns = `${'offset'.padStart(9)}  ${'took'.padStart(8)}  ${''.padEnd(barWidth)}  ${'service'.padEnd(serviceWidth)}  span`;
  return [paint('bold', head), paint('dim', columns), ...rows].join('\n');
}
