import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FastifyInstance } from 'fastify';
import { createLog } from '../base/log.ts';
import { startTestHttp } from '../http/testing.ts';
import type { JaegerSpan } from '../views/trace-tree.ts';
import { registerDashboards } from './dashboards.ts';
import { registerTraces } from './traces.ts';

/** A store that answers by path, and what it was asked. */
async function store(t: ExecutionContext, answer: (path: string, body: URLSearchParams) => unknown) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const url = new URL(request.url!, 'http://store');
    asked.push(`${request.method} ${url.pathname}`);
    const given = answer(url.pathname, new URLSearchParams(`${url.searchParams}&${body}`));
    if (given === undefined) response.writeHead(404).end('{"data":null}');
    else response.end(typeof given === 'string' ? given : JSON.stringify(given));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

type Register = (http: FastifyInstance) => unknown;

async function serve(t: ExecutionContext, register: Register) {
  const http = await startTestHttp({ log: createLog({ process: 'api', level: 'error' }), tokens: undefined });
  t.teardown(() => http.close(100));
  await register(http.app as never);
  await http.open();
  return async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${http.address().port}/console${path}`);
    const text = await answer.text();
    return { status: answer.status, text, json: text.startsWith('{') ? JSON.parse(text) : undefined };
  };
}

const dashboard = {
  uid: 'muster-dev-overview',
  title: 'muster dev: overview',
  description: 'Is it well?',
  panels: [
    { id: 1, type: 'row', title: 'Is it well?', gridPos: { x: 0, y: 0, w: 24, h: 1 } },
    {
      id: 2,
      type: 'timeseries',
      title: 'Latency',
      description: 'How long it takes.',
      gridPos: { x: 0, y: 1, w: 12, h: 8 },
      targets: [{ refId: 'A', expr: 'latency{group=~"$group"}', legendFormat: '{{group}}', exemplar: true }],
      fieldConfig: { defaults: { unit: 's' } },
    },
  ],
  templating: {
    list: [{ type: 'query', name: 'group', label: 'Group', query: 'label_values(latency, group)' }],
  },
};

/** The console's dashboards over a Prometheus in which one group is seen. */
async function dashboards(t: ExecutionContext, prometheusUrl?: string) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-dashboards-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, 'dashboards.json');
  await writeFile(file, JSON.stringify({ 'a-last': { ...dashboard, title: 'a' }, overview: dashboard }));
  const queries: string[] = [];
  const prometheus = await store(t, (path, parameters) => {
    const query = parameters.get('query');
    if (query !== null) queries.push(query);
    const atS = Number(parameters.get('end'));
    const labels = { group: '<b style="x">' };
    if (path.includes('/label/')) return { status: 'success', data: ['join', 'ranking'] };
    if (path.endsWith('/query_exemplars')) {
      const exemplars = [{ labels: { trace_id: 'a'.repeat(32) }, value: '2', timestamp: atS - 60 }];
      return { status: 'success', data: [{ exemplars }] };
    }
    const values = [
      [atS - 30, '1'],
      [atS, '2'],
    ];
    return { status: 'success', data: { result: [{ metric: labels, values }] } };
  });
  const ask = await serve(t, (http) =>
    registerDashboards(http, {
      file,
      prometheusUrl: prometheusUrl ?? prometheus.url,
      scrapeIntervalMs: 5_000,
      jaegerUrl: '',
      sampleRatio: 1,
      linkOf: (id) => `#traces/${id}`,
    }),
  );
  return { ask, queries };
}

test('dashboards are listed, the overview first, by what they are about', async (t) => {
  const { ask } = await dashboards(t);
  t.deepEqual((await ask('/dashboards')).json.dashboards, [
    { slug: 'overview', title: 'overview', description: 'Is it well?' },
    { slug: 'a-last', title: 'a', description: 'Is it well?' },
  ]);
  t.is((await ask('/dashboards/none?rangeMinutes=15')).status, 404);
  t.is((await ask('/dashboards/overview?rangeMinutes=16')).status, 422);
  t.is((await ask('/dashboards/overview')).status, 422);
  t.regex((await ask('/dashboards.css')).text, /\.muster/);
});

test('a dashboard is drawn without a style that the page’s policy refuses, labels are text, and a diamond leads to its trace', async (t) => {
  const { ask } = await dashboards(t);
  const { json } = await ask('/dashboards/overview?rangeMinutes=15');
  t.regex(json.html, /data-style="grid-column/);
  t.notRegex(json.html, / style="|<style|<script|<b /);
  t.regex(json.html, new RegExp(`<a href="#traces/${'a'.repeat(32)}"`));
  t.deepEqual(json.panels, [{ title: 'Latency', description: 'How long it takes.', empty: false }]);
});

test('a variable takes what was offered, and nobody asks Prometheus anything else by way of it', async (t) => {
  const { ask, queries } = await dashboards(t);
  t.deepEqual((await ask('/dashboards/overview?rangeMinutes=15')).json.variables, [
    { name: 'group', label: 'Group', values: ['join', 'ranking'], chosen: null },
  ]);
  t.true(queries.includes('latency{group=~"join|ranking"}'));
  await ask('/dashboards/overview?rangeMinutes=15&group=join');
  t.true(queries.includes('latency{group=~"join"}'));
  t.is((await ask('/dashboards/overview?rangeMinutes=15&group=x"}')).status, 422);
  t.is((await ask('/dashboards/overview?rangeMinutes=15&other=join')).status, 422);
  t.false(queries.some((query) => query.includes('x"}')));
});

test('who looks at the same at about the same time has it drawn once', async (t) => {
  const { ask, queries } = await dashboards(t);
  await ask('/dashboards/overview?rangeMinutes=15');
  const before = queries.length;
  await ask('/dashboards/overview?rangeMinutes=15');
  t.is(queries.length, before);
});

test('while Prometheus is away the page is told so', async (t) => {
  const { ask } = await dashboards(t, 'http://127.0.0.1:9');
  const { status, json } = await ask('/dashboards/overview?rangeMinutes=15');
  t.is(status, 503);
  t.is(json.error.code, 'MUSTER_PROMETHEUS_DOWN');
});

const [tapped, batch] = ['a'.repeat(32), 'b'.repeat(32)];
const span = (traceID: string, spanID: string, over: Partial<JaegerSpan> = {}): JaegerSpan => ({
  ...{ traceID, spanID, operationName: spanID, startTime: 1_795_000_000_000_000, duration: 2_000 },
  processID: 'p1',
  ...over,
});
const processes = { p1: { serviceName: 'api' } };
const traces = {
  [tapped]: {
    traceID: tapped,
    processes,
    spans: [span(tapped, 'tap', { tags: [{ key: 'error', value: true }] })],
  },
  [batch]: {
    traceID: batch,
    processes,
    spans: [
      span(batch, 'handle', { references: [{ refType: 'FOLLOWS_FROM', traceID: tapped, spanID: 'tap' }] }),
    ],
  },
};

async function found(t: ExecutionContext) {
  const searched: URLSearchParams[] = [];
  const jaeger = await store(t, (path, parameters) => {
    if (path === '/api/services') return { data: ['jaeger', 'pay', 'api'] };
    if (path === '/api/services/api/operations') return { data: ['tap', 'handle'] };
    if (path === '/api/traces') {
      searched.push(parameters);
      return { data: Object.values(traces) };
    }
    const trace = traces[path.split('/').at(-1)!];
    return trace === undefined ? undefined : { data: [trace] };
  });
  const lines = [
    { _time: '2026-11-21T04:30:01Z', process: 'api', level: 'info', _msg: 'second', line: '{}' },
    { _time: '2026-11-21T04:30:00Z', process: 'pay', level: 'error', _msg: 'first', line: '{}' },
  ];
  const asked: string[] = [];
  const logs = await store(t, (_path, parameters) => {
    asked.push(parameters.get('query')!);
    return lines.map((line) => JSON.stringify(line)).join('\n');
  });
  const ask = await serve(t, (http) => registerTraces(http, { jaegerUrl: jaeger.url, logsUrl: logs.url }));
  return { ask, searched, asked, jaeger };
}

test('traces are found by service, operation, duration and failure', async (t) => {
  const { ask, searched } = await found(t);
  t.deepEqual((await ask('/traces/services')).json, { services: ['api', 'pay'] });
  t.deepEqual((await ask('/traces/operations?service=api')).json, { operations: ['handle', 'tap'] });
  const all = (await ask('/traces?service=api&operation=tap&minDurationMs=5&rangeMinutes=15')).json.traces;
  t.is(all.length, 2);
  t.like(Object.fromEntries(searched[0]!), {
    service: 'api',
    operation: 'tap',
    minDuration: '5ms',
    limit: '50',
  });
  const failed = (await ask('/traces?service=api&rangeMinutes=15&isFailed=true')).json.traces;
  t.deepEqual(
    failed.map(({ id, name, service, failed: count }: Record<string, unknown>) => [id, name, service, count]),
    [[tapped, 'tap', 'api', 1]],
  );
  t.is((await ask('/traces?rangeMinutes=15')).status, 422);
  t.is(
    (await ask('/traces?service=api&rangeMinutes=15&tags=x')).status,
    422,
    'nothing else goes on to Jaeger',
  );
});

test('a trace comes with its attributes and with what it is linked with; one that is not there is said to be unknown', async (t) => {
  const { ask } = await found(t);
  const { json } = await ask(`/traces/${batch}`);
  t.deepEqual(json.traceIds, [batch, tapped]);
  t.like(json.roots[0], { name: 'tap', error: 'error', attributes: [{ key: 'error', value: true }] });
  t.like(json.roots[0].children[0], { name: 'handle', byLink: true });
  const unknown = await ask(`/traces/${'c'.repeat(32)}`);
  t.is(unknown.status, 404);
  t.is(unknown.json.error.code, 'MUSTER_TRACE_UNKNOWN');
  t.is((await ask('/traces/not-an-id')).status, 422);
});

test('log lines of a trace are looked for in its time, and come in the order of time', async (t) => {
  const { ask, asked } = await found(t);
  const { json } = await ask(`/traces/${tapped}/logs`);
  t.deepEqual(
    json.lines.map(({ message, level }: Record<string, string>) => `${level} ${message}`),
    ['error first', 'info second'],
  );
  t.regex(
    asked[0]!,
    new RegExp(`^_time:>="2026-.*" _time:<"2026-.*" \\(trace_id:="${tapped}" or line:"${tapped}"\\)$`),
  );
});

test('stores are only read, and by no other path', async (t) => {
  const { ask, jaeger } = await found(t);
  for (const path of ['/traces/services', `/traces/${tapped}`, '/traces/..%2f..%2fmetrics', '/traces/a/b/c'])
    await ask(path);
  t.true(
    jaeger.asked.every((line) => /^GET \/api\/(services|traces\/[0-9a-f]{32})$/.test(line)),
    jaeger.asked.join(),
  );
});
