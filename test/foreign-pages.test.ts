/**
 * Pages of other sites in a real Chromium, against the deployed environment (`./muster test e2e`): one of another origin, and
 * one whose own name leads to our address (DNS rebinding). Neither changes, reads or listens to anything.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { type Browser, chromium, type Page } from 'playwright-core';
import { urlFromHost } from '../stacks/config/topology.ts';
import { findChromium } from '../tools/png.ts';
import { apiToken, apiUrl, environment } from './deployed.fixture.ts';

const stranger = 'evil.example';
let browser: Browser;
let page: Page;
let foreignUrl: string;
const site = createServer((_request, response) =>
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>another site</title>'),
);

test.before(async (t) => {
  t.timeout(600_000);
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  foreignUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  const executablePath = await findChromium((line) => t.log(line));
  browser = await chromium.launch({
    executablePath,
    args: [
      `--host-resolver-rules=MAP ${stranger} 127.0.0.1`,
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  });
  page = await browser.newPage();
});
test.after.always(async () => {
  await browser?.close();
  site.close();
});

/** What the page that is open gets of a path: the status, or that the browser lets it see nothing. */
const ask = (url: string, options: { method: string; mode: 'cors' | 'no-cors'; token?: string }) =>
  page.evaluate(
    async ([address, { method, mode, token }]) => {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const body = method === 'POST' ? { body: '{"name":"from another site","stock":1}' } : {};
      return fetch(address, { method, mode, headers, ...body }).then(
        (response) => response.status,
        () => 'nothing',
      );
    },
    [url, options] as const,
  );

const listen = (url: string, token: string) =>
  page.evaluate(
    ([address, bearer]) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(address, ['muster', `bearer.${bearer}`]);
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
      }),
    [url, token] as const,
  );

const socketUrl = `${apiUrl.replace('http', 'ws')}/coupons/ws?userId=anybody`;
const coupons = async () =>
  ((await (await fetch(`${apiUrl}/coupons?limit=1000`)).json()) as { coupons: { name: string }[] }).coupons;

test.serial(
  'a page of another origin reads and changes nothing and opens no WebSocket, even with a token',
  async (t) => {
    t.timeout(120_000);
    await page.goto(foreignUrl);
    for (const path of ['/coupons', '/metrics', '/console/settings'])
      t.is(await ask(`${apiUrl}${path}`, { method: 'GET', mode: 'cors' }), 'nothing', path);
    // What a form could send: the browser lets it go, and shows nothing of the answer.
    await ask(`${apiUrl}/coupons`, { method: 'POST', mode: 'no-cors' });
    await ask(`${apiUrl}/coupons`, { method: 'POST', mode: 'cors', token: apiToken });
    t.false((await coupons()).some(({ name }) => name === 'from another site'));
    t.is(await listen(socketUrl, apiToken), 'refused');
  },
);

test.serial('a page whose name leads to our address gets no answer under that name', async (t) => {
  t.timeout(120_000);
  const { port } = new URL(apiUrl);
  const rebound = `http://${stranger}:${port}`;
  const answer = await page.goto(`${rebound}/console`);
  t.is(answer?.status(), 421);
  // The page is that of the refusal, of the very origin that it asks: what it gets are refusals, too.
  for (const path of ['/coupons', '/metrics', '/healthz', '/console/settings'])
    t.is(await ask(`${rebound}${path}`, { method: 'GET', mode: 'cors', token: apiToken }), 421, path);
  t.is(await listen(`ws://${stranger}:${port}/coupons/ws?userId=anybody`, apiToken), 'refused');
});

/** What a page that is open may ask of the pages of servers that are not ours, each with an answer for who may. */
const behindPages = [
  ['prometheus', '/api/v1/query?query=up'],
  ['alertmanager', '/api/v2/silences'],
  ['jaeger', '/api/services'],
  ['victorialogs', '/metrics'],
] as const;
const silences = async () =>
  JSON.stringify(await (await fetch(`${urlFromHost(environment, 'alertmanager')}/api/v2/silences`)).json());

/** As a page would silence an alert; `nothing` where the browser lets it see no answer. */
const silence = (url: string) =>
  page.evaluate(
    ([address, comment]) =>
      fetch(`${address}/api/v2/silences`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          matchers: [{ name: 'alertname', value: 'NobodyHasThis', isRegex: false }],
          startsAt: new Date().toISOString(),
          endsAt: new Date(Date.now() + 5_000).toISOString(),
          createdBy: 'a page',
          comment,
        }),
      }).then(
        ({ status }) => status,
        () => 'nothing',
      ),
    [url, `by a page at ${page.url()}`] as const,
  );

test.serial('a page of another site silences no alert and reads no metric, trace or log line', async (t) => {
  t.timeout(120_000);
  await page.goto(foreignUrl);
  t.is(await silence(urlFromHost(environment, 'alertmanager')), 'nothing');
  t.false((await silences()).includes(foreignUrl));
  for (const [server, path] of behindPages) {
    const url = `${urlFromHost(environment, server)}${path}`;
    t.is((await fetch(url)).status, 200, `${server} answers a program`);
    await page.goto(foreignUrl);
    t.is(await ask(url, { method: 'GET', mode: 'cors' }), 'nothing', server);
    const rebound = new URL(url);
    rebound.hostname = stranger;
    t.is((await page.goto(rebound.href))?.status(), 421, server);
    // A person follows a link from anywhere, and sees it.
    await page.goto(foreignUrl);
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.url() === url),
      page.waitForURL((to) => to.href === url),
      page.evaluate(`location.href = ${JSON.stringify(url)}`),
    ]);
    t.is(answer?.status(), 200, server);
  }
});

test.serial('Alertmanager’s own page silences', async (t) => {
  t.timeout(120_000);
  const own = urlFromHost(environment, 'alertmanager');
  await page.goto(`${own}/api/v2/alerts`);
  t.is(await silence(own), 200);
  t.true((await silences()).includes(`by a page at ${own}`));
});

test.serial('a page of our own goes on: it asks, and it listens', async (t) => {
  t.timeout(120_000);
  await page.goto(`${apiUrl}/console`);
  t.is(await ask(`${apiUrl}/coupons`, { method: 'GET', mode: 'cors' }), 200);
  t.is(await listen(socketUrl, apiToken), 'open');
});
