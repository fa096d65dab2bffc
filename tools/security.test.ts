import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { checkout } from '../environment/paths.ts';
import { registerBankingRoutes } from '../workers/banking/routes.ts';
import { createRegistry } from '../workers/base/metrics.ts';
import { registerRoutes as registerCouponRoutes } from '../workers/coupon/routes.ts';
import { registerNotificationRoutes, registerRiderRoutes } from '../workers/delivery/people-routes.ts';
import { registerPhotoRoutes } from '../workers/delivery/photo-routes.ts';
import { registerNotificationStreams } from '../workers/delivery/push.ts';
import { registerDeliveryRoutes } from '../workers/delivery/routes.ts';
import type { Callers } from '../workers/http/principals.ts';
import { startTestHttp } from '../workers/http/testing.ts';
import { registerMembershipRoutes } from '../workers/membership/routes.ts';
import { registerMessageRoute } from '../workers/messages/worker.ts';
import { registerBooksRoutes } from '../workers/money/books-routes.ts';
import { rechargeOutcomes } from '../workers/money/recharge-push.ts';
import { registerMoneyRoutes } from '../workers/money/routes.ts';
import { registerFiguresRoutes } from '../workers/order/figures-routes.ts';
import { registerOrderRoutes } from '../workers/order/routes.ts';
import { registerEventRoutes } from '../workers/outside/routes.ts';
import { paymentOutcomes } from '../workers/payment/push.ts';
import { registerPaymentRoutes } from '../workers/payment/routes.ts';
import { registerReactionRoute } from '../workers/promotion/analysis-worker.ts';
import { registerInputRoutes, registerStreamRoutes } from '../workers/promotion/routes.ts';
import { remittanceOutcomes } from '../workers/remittance/push.ts';
import { registerRemittanceRoutes } from '../workers/remittance/routes.ts';
import { registerSettlementRoutes } from '../workers/settlement/routes.ts';

/** The table of docs/security.md, from the routes themselves. */
async function tableOfRoutes(): Promise<string> {
  const registry = createRegistry();
  const http = await startTestHttp({ registry });
  const rows: string[] = [];
  http.app.addHook('onRoute', ({ method, url, config }) => {
    const callers = (config as { callers: Callers }).callers;
    const path = url.replace(/:(\w+)/g, '{$1}');
    rows.push(`| \`${method} ${path}\` | ${callers === 'anyone' ? 'anyone' : callers.join(', ')} |`);
  });
  // Only what they register is looked at: nothing is called.
  const anything = {
    registry,
    pseudonymKey: Buffer.alloc(32),
    maxClients: 1,
    timeZone: 'Asia/Seoul',
    folder: { incoming: '' },
  } as never;
  registerInputRoutes(http.app as never, anything);
  registerStreamRoutes(http.app as never, anything);
  registerReactionRoute(http.app as never, anything, () => true);
  registerCouponRoutes(http.app as never, anything);
  registerOrderRoutes(http.app as never, anything);
  registerFiguresRoutes(http.app as never, anything);
  registerEventRoutes(http.app as never, anything);
  registerMoneyRoutes(http.app as never, anything);
  rechargeOutcomes.register(http.app as never, anything);
  registerBooksRoutes(http.app as never, anything);
  registerMessageRoute(http.app as never, anything);
  registerMembershipRoutes(http.app as never, anything);
  registerBankingRoutes(http.app as never, anything);
  registerRemittanceRoutes(http.app as never, anything);
  remittanceOutcomes.register(http.app as never, anything);
  registerPaymentRoutes(http.app as never, anything);
  paymentOutcomes.register(http.app as never, anything);
  registerSettlementRoutes(http.app as never, anything);
  registerDeliveryRoutes(http.app as never, anything);
  registerRiderRoutes(http.app as never, anything);
  registerNotificationRoutes(http.app as never, anything);
  registerNotificationStreams(http.app as never, anything);
  registerPhotoRoutes(http.app as never, anything);
  await http.open();
  await http.close(0);
  return `| route | for |\n|---|---|\n${rows.join('\n')}`;
}

test('docs/security.md says of every route of the API who may call it', async (t) => {
  const text = await readFile(join(checkout, 'docs/security.md'), 'utf8');
  const told = /<!-- routes[^>]*-->\n\n([\s\S]*?)\n\n/.exec(text)?.[1];
  t.is(told, await tableOfRoutes());
});
