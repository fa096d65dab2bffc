/**
 * The console page in a real Chromium, on the deployed environment (`./muster test e2e`). With CONSOLE_PICTURES set to a
 * folder it leaves pictures there, for docs/images.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Browser, chromium, type Page } from 'playwright-core';
import { findChromium } from '../tools/png.ts';
import { apiUrl } from './deployed.fixture.ts';

let browser: Browser;
const laptop = { width: 1280, height: 900 };
const phone = { width: 390, height: 844 };

test.before(async (t) => {
  t.timeout(600_000);
  const executablePath = await findChromium((line) => t.log(line));
  // Root may not use Chromium's sandbox; the page is ours.
  browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
});
test.after.always(() => browser?.close());

interface Opened {
  readonly page: Page;
  /** What went wrong in the page. */
  readonly problems: string[];
}

/**
 * A test on a page of its own. Chromium breaks all requests off when a network interface of the host comes or goes, as
 * with every container that is restarted: what was disturbed by that is tried again.
 */
function onPage(
  title: string,
  [size, colorScheme]: readonly [size: typeof laptop, scheme: 'light' | 'dark'],
  body: (t: ExecutionContext, opened: Opened) => Promise<void>,
): void {
  test.serial(title, async (t) => {
    t.timeout(400_000);
    for (let tries = 1; ; tries += 1) {
      const page = await browser.newPage({ viewport: size, colorScheme });
      page.setDefaultTimeout(60_000);
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error') problems.push(message.text());
      });
      const attempt = await t.try(async (tt) => {
        await page.goto(`${apiUrl}/console`);
        await page.waitForSelector('body[data-ready=true]');
        await body(tt, { page, problems });
      });
      await page.close();
      const disturbed = problems.some((problem) => problem.includes('ERR_NETWORK_CHANGED'));
      if (attempt.passed || tries === 4 || !disturbed) {
        attempt.commit();
        return;
      }
      attempt.discard();
      t.log('the network of this host changed in the middle: once more');
    }
  });
}

async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.CONSOLE_PICTURES;
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true, animations: 'disabled' });
}

async function rush(page: Page, people: number, each: number, stock: number): Promise<void> {
  await page.fill('#rush-people', String(people));
  await page.fill('#rush-each', String(each));
  await page.fill('#rush-stock', String(stock));
  await page.click('#rush-start');
  await page.waitForSelector('#rush-verdict.good, #rush-verdict.bad');
}

onPage(
  'a rush hands out the stock and no more, and every answer arrives live',
  [laptop, 'light'],
  async (t, { page, problems }) => {
    await rush(page, 40, 2, 15);
    t.is(
      await page.textContent('#rush-verdict'),
      '15 coupons for 40 people, 80 answers, and the store agrees.',
    );
    t.is(await page.locator('#tiles .won').count(), 15);
    t.is(await page.locator('#tiles .lost').count(), 25);
    t.is(await page.textContent('#rush-accepted'), '80');
    t.deepEqual(problems, []);
  },
);

onPage(
  'an order is placed and paid, paying again changes nothing, and it climbs the ranking',
  [laptop, 'light'],
  async (t, { page, problems }) => {
    await page.fill('#order-quantity', '3');
    await page.click('#order-start');
    await page.waitForSelector('#order-steps li:nth-child(2)');
    const steps = page.locator('#order-steps li');
    t.regex((await steps.nth(1).textContent()) ?? '', /Paid: payment/);
    await page.click('#pay-same');
    await page.waitForSelector('#order-steps li:nth-child(3)');
    t.regex((await steps.nth(2).textContent()) ?? '', /The same answer: payment .*, taken once/);
    const payment = (text: string | null) => /payment (\w{8})/.exec(text ?? '')?.[1];
    t.is(payment(await steps.nth(2).textContent()), payment(await steps.nth(1).textContent()));
    await page.click('#pay-other');
    await page.waitForSelector('#order-steps li.bad');
    t.regex((await steps.nth(3).textContent()) ?? '', /MUSTER_/);
    await page.waitForSelector('#ranking .sold');
    // The browser itself reports the refusal.
    t.deepEqual(
      problems.filter((problem) => !/status of 409/.test(problem)),
      [],
    );
  },
);

onPage('each step leads to its trace in Jaeger', [laptop, 'light'], async (t, { page }) => {
  await page.click('#order-start');
  await page.waitForSelector('#order-steps li:nth-child(2)');
  const href = await page.getAttribute('#order-steps li:nth-child(2) a', 'href');
  t.regex(href ?? '', /^http:\/\/[^/]+\/trace\/[0-9a-f]{32}$/);
  const jaegerUrl = process.env.MUSTER_JAEGER_URL!;
  const id = href!.split('/').at(-1);
  let names: string[] = [];
  for (const until = Date.now() + 60_000; names.length === 0 && Date.now() < until; ) {
    const response = await fetch(`${jaegerUrl}/api/traces/${id}`);
    if (response.ok) {
      const { data } = (await response.json()) as { data: { spans: { operationName: string }[] }[] };
      names = data[0]?.spans.map(({ operationName }) => operationName) ?? [];
    } else await response.arrayBuffer();
  }
  t.true(
    names.some((name) => name.startsWith('POST /orders')),
    names.join(', '),
  );
});

for (const [name, size, scheme] of [
  ['console-laptop', laptop, 'light'],
  ['console-phone', phone, 'dark'],
] as const)
  onPage(`nothing sticks out or overlaps: ${name}`, [size, scheme], async (t, { page, problems }) => {
    await page.click('#order-start');
    await page.waitForSelector('#order-steps li:nth-child(2)');
    await rush(page, 60, 2, 20);
    const width = await page.evaluate('document.documentElement.scrollWidth');
    t.true(Number(width) <= size.width, `the page is ${width} wide`);
    for (const control of await page.locator('button:visible, input:visible, select:visible').all()) {
      const box = (await control.boundingBox())!;
      t.true(box.x >= 0 && box.x + box.width <= size.width);
      t.true(box.height >= 32);
    }
    t.deepEqual(problems, []);
    await picture(page, name);
  });
