/** The service map as a drawing: services, topics and stores in the order in which work reaches them. Pure. */
import { escapeHtml } from './markup.ts';
import type { ServiceMap } from './service-map.ts';
import { format } from './units.ts';

interface Node {
  readonly id: string;
  readonly label: string;
  readonly kind: 'outside' | 'service' | 'topic' | 'store';
  layer: number;
  x: number;
  y: number;
  width: number;
}

interface Edge {
  readonly from: string;
  readonly to: string;
  perSecond: number;
  errors: number;
  calls: number;
  /** Of the most frequent of its calls. */
  p95Ms: number | undefined;
  most: number;
  routes: string[];
}

const outside = 'outside';
const nodeHeight = 34;

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** SVG of the map, or undefined when it is empty. Fills the size, and is higher when there is more to draw. */
export function drawServiceMap(
  map: ServiceMap,
  size: { readonly width: number; readonly height: number },
): { svg: string; height: number } | undefined {
  const { nodes, edges } = graphOf(map);
  if (edges.length === 0) return undefined;
  const height = place(nodes, edges, size);
  const at = new Map(nodes.map((node) => [node.id, node]));
  const most = Math.max(...edges.map(({ perSecond }) => perSecond));
  const taken = nodes.map(
    ({ x, y, width }): Box => ({
      left: x - width / 2,
      right: x + width / 2,
      top: y - nodeHeight / 2,
      bottom: y + nodeHeight / 2,
    }),
  );
  const drawn = edges.map((edge) =>
    drawEdge(edge, at.get(edge.from)!, at.get(edge.to)!, { most, height, taken }),
  );
  const svg = [
    `<svg class="chart map" viewBox="0 0 ${size.width} ${height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="who calls whom">`,
    '<defs><marker id="map-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L8 4 L0 8 Z" fill="var(--muster-text-weak)"/></marker></defs>',
    ...drawn.map(({ line }) => line),
    ...nodes.map(drawNode),
    ...drawn.map(({ text }) => text),
    '</svg>',
  ].join('');
  return { svg, height };
}

function graphOf(map: ServiceMap): { nodes: Node[]; edges: Edge[] } {
  const nodes = new Map<string, Node>();
  const edges = new Map<string, Edge>();
  const node = (id: string, label: string, kind: Node['kind']): string => {
    if (!nodes.has(id))
      nodes.set(id, { id, label, kind, layer: 0, x: 0, y: 0, width: Math.max(84, label.length * 7.2 + 28) });
    return id;
  };
  const service = (name: string | undefined) =>
    name === undefined ? node(outside, 'outside', 'outside') : node(`service ${name}`, name, 'service');
  const connect = (
    from: string,
    to: string,
    call: ServiceMap['calls'][number],
    counts: { readonly took: boolean; readonly route?: string },
  ): void => {
    const key = `${from} > ${to}`;
    const edge = edges.get(key) ?? {
      from,
      to,
      perSecond: 0,
      errors: 0,
      calls: 0,
      p95Ms: undefined,
      most: 0,
      routes: [],
    };
    edges.set(key, edge);
    edge.perSecond += call.perSecond;
    edge.calls += call.calls;
    edge.errors += call.errors;
    if (counts.route !== undefined) edge.routes.push(counts.route);
    if (counts.took && call.calls > edge.most) {
      edge.most = call.calls;
      edge.p95Ms = call.p95Ms;
    }
  };
  // A message that several services take is one sending: the sender's edge counts the most that one of them took.
  const sent = new Map<string, ServiceMap['calls'][number]>();
  for (const call of map.calls) {
    const from = service(call.from);
    if (call.way.kind === 'topic') {
      const topic = node(`topic ${call.way.topic}`, call.way.topic, 'topic');
      const key = `${from} > ${topic}`;
      if ((sent.get(key)?.calls ?? -1) < call.calls) sent.set(key, call);
      if (call.to !== undefined) connect(topic, service(call.to), call, { took: true });
    } else if (call.way.kind === 'store')
      connect(from, node(`store ${call.way.system}`, call.way.system, 'store'), call, { took: true });
    else connect(from, service(call.to), call, { took: true, route: `${call.way.method} ${call.way.route}` });
  }
  for (const [key, call] of sent) {
    const [from, to] = key.split(' > ') as [string, string];
    connect(from, to, call, { took: false });
  }
  return {
    nodes: [...nodes.values()].sort((a, b) => a.id.localeCompare(b.id)),
    edges: [...edges.values()].sort((a, b) => `${a.from}${a.to}`.localeCompare(`${b.from}${b.to}`)),
  };
}

/**
 * Puts every node right of all that lead to it, and close to what it leads to; calls that close a circle do not count.
 * What is called from outside begins the way, also when it hears of the end of it. The same map always gets the same
 * columns.
 */
function layOut(nodes: readonly Node[], all: readonly Edge[]): void {
  const services = new Set(nodes.filter(({ kind }) => kind === 'service').map(({ id }) => id));
  const begin = new Set(
    all.filter(({ from, to }) => from === outside && services.has(to)).map(({ to }) => to),
  );
  const edges = all.filter(({ from, to }) => from === outside || !begin.has(to));
  const onward = new Map<string, string[]>(nodes.map(({ id }) => [id, []]));
  const state = new Map<string, 'open' | 'done'>();
  const order: string[] = [];
  const visit = (id: string): void => {
    state.set(id, 'open');
    for (const { from, to } of edges) {
      if (from !== id || state.get(to) === 'open') continue;
      onward.get(id)!.push(to);
      if (state.get(to) === undefined) visit(to);
    }
    state.set(id, 'done');
    order.unshift(id);
  };
  const entered = new Set(edges.filter(({ from, to }) => from !== to).map(({ to }) => to));
  const first = nodes.filter(({ id, kind }) => kind === 'outside' || !entered.has(id));
  for (const { id } of [...first, ...nodes]) if (state.get(id) === undefined) visit(id);
  const layers = new Map<string, number>(nodes.map(({ id }) => [id, 0]));
  for (const id of order)
    for (const to of onward.get(id)!) layers.set(to, Math.max(layers.get(to)!, layers.get(id)! + 1));
  for (const id of order.toReversed()) {
    const next = onward.get(id)!.map((to) => layers.get(to)!);
    if (next.length > 0 && id !== outside) layers.set(id, Math.max(layers.get(id)!, Math.min(...next) - 1));
  }
  for (const node of nodes) node.layer = layers.get(node.id)!;
}

/** Within a column nodes lie near those that lead there. Returns the height that this takes. */
function place(
  nodes: Node[],
  edges: readonly Edge[],
  { width, height: room }: { readonly width: number; readonly height: number },
): number {
  layOut(nodes, edges);
  const columns = Math.max(...nodes.map(({ layer }) => layer)) + 1;
  const rows = Math.max(
    ...Array.from({ length: columns }, (_, layer) => nodes.filter((node) => node.layer === layer).length),
  );
  // Half of the room would do for a few nodes; what flows back needs some at the edges.
  const margin = 30;
  const height = Math.max(room - 2 * margin, rows * 62);
  for (let layer = 0; layer < columns; layer += 1) {
    const column = nodes.filter((node) => node.layer === layer);
    const pull = (node: Node): number => {
      const before = edges
        .filter(({ to }) => to === node.id)
        .map(({ from }) => nodes.find(({ id }) => id === from)!)
        .filter((other) => other.layer < layer);
      return before.length === 0 ? height / 2 : before.reduce((sum, { y }) => sum + y, 0) / before.length;
    };
    const order = new Map(column.map((node) => [node.id, pull(node)]));
    column.sort((a, b) => order.get(a.id)! - order.get(b.id)! || a.id.localeCompare(b.id));
    column.forEach((node, index) => {
      const widest = 110;
      node.x = columns === 1 ? width / 2 : widest + (layer * (width - 2 * widest)) / (columns - 1);
      node.y = margin + ((index + 0.5) * height) / column.length;
    });
  }
  return Math.round(height + 2 * margin);
}

const number = (value: number) => value.toFixed(1);

function drawNode({ label, kind, x, y, width }: Node): string {
  const look = {
    outside: {
      fill: 'var(--muster-panel)',
      stroke: 'var(--muster-text-weak)',
      radius: 17,
      dash: ' stroke-dasharray="4 3"',
    },
    service: { fill: '#2257a8', stroke: '#5794f2', radius: 17, dash: '' },
    topic: { fill: 'var(--muster-panel)', stroke: '#73bf69', radius: 4, dash: '' },
    store: { fill: 'var(--muster-panel)', stroke: '#b877d9', radius: 4, dash: '' },
  }[kind];
  const color = kind === 'service' ? '#fff' : 'var(--muster-text)';
  return `<rect x="${number(x - width / 2)}" y="${number(y - nodeHeight / 2)}" width="${number(width)}" height="${nodeHeight}" rx="${look.radius}" fill="${look.fill}" stroke="${look.stroke}" stroke-width="1.5"${look.dash}/><text x="${number(x)}" y="${number(y + 4)}" text-anchor="middle" font-size="12" font-weight="${kind === 'service' ? 600 : 400}" fill="${color}">${escapeHtml(label)}</text>`;
}

function drawEdge(
  edge: Edge,
  from: Node,
  to: Node,
  { most, height, taken }: { readonly most: number; readonly height: number; readonly taken: Box[] },
): { line: string; text: string } {
  const back = to.layer <= from.layer;
  const direction = back ? -1 : 1;
  const [x1, x2] = [from.x + (direction * from.width) / 2, to.x - (direction * to.width) / 2 - direction * 2];
  const reach = Math.max(30, Math.abs(x2 - x1) * 0.45);
  // What flows back swings to the nearer edge, away from what flows on.
  const swing = back ? (from.y + to.y > height ? 1 : -1) * (30 + Math.abs(x2 - x1) * 0.09) : 0;
  const [c1, c2] = [x1 + direction * reach, x2 - direction * reach];
  const [y1, y2] = [from.y + (back ? Math.sign(swing) * 8 : 0), to.y + (back ? Math.sign(swing) * 8 : 0)];
  const path = `M${number(x1)} ${number(y1)} C${number(c1)} ${number(y1 + swing)} ${number(c2)} ${number(y2 + swing)} ${number(x2)} ${number(y2)}`;
  const failing = edge.errors > 0;
  const thickness = 1 + 2.5 * Math.sqrt(edge.perSecond / Math.max(most, 1e-9));
  const took = edge.p95Ms === undefined ? '' : ` · p95 ${format(edge.p95Ms, 'ms')}`;
  const errors = failing ? ` · ${format(edge.errors / Math.max(1, edge.calls), 'percentunit')} failed` : '';
  const caption = `${format(edge.perSecond, 'ops').replace(' ops', '')}${took}${errors}`;
  const along = (t: number): readonly [x: number, y: number] => {
    const curve = (a: number, b: number, c: number, d: number) =>
      (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d;
    return [curve(x1, c1, c2, x2), curve(y1, y1 + swing, y2 + swing, y2)];
  };
  const { x, y } = freePlace(along, caption.length * 5.6, taken);
  const title = edge.routes.length === 0 ? '' : `<title>${escapeHtml(edge.routes.join('\n'))}</title>`;
  return {
    line: `<path d="${path}" fill="none" stroke="${failing ? '#f2495c' : 'var(--muster-text-weak)'}" stroke-opacity="${back ? 0.45 : 0.75}" stroke-width="${number(thickness)}" marker-end="url(#map-arrow)">${title}</path>`,
    text: `<text x="${number(x)}" y="${number(y)}" text-anchor="middle" font-size="10.5" fill="${failing ? '#f2495c' : 'var(--muster-text)'}" stroke="var(--muster-panel)" stroke-width="3" paint-order="stroke">${escapeHtml(caption)}</text>`,
  };
}

/** The first place along a curve where a caption lies over nothing else; taken from then on. */
function freePlace(
  along: (t: number) => readonly [x: number, y: number],
  width: number,
  taken: Box[],
): { x: number; y: number } {
  let best: { x: number; y: number; box: Box; overlap: number } | undefined;
  for (const offset of [-5, 13])
    for (const t of [0.55, 0.45, 0.65, 0.35, 0.75, 0.25]) {
      const [x, above] = along(t);
      const y = above + offset;
      const box = { left: x - width / 2 - 3, right: x + width / 2 + 3, top: y - 11, bottom: y + 4 };
      const overlap = taken.reduce((sum, other) => sum + common(box, other), 0);
      if (best === undefined || overlap < best.overlap) best = { x, y, box, overlap };
      if (overlap === 0) break;
    }
  taken.push(best!.box);
  return best!;
}

/** Area that two boxes share. */
function common(a: Box, b: Box): number {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0;
}
