/** All dashboards, as `./muster render` writes them to build/<environment>/grafana/dashboards/. */
import type { Environment } from '../catalog/environments.ts';
import { brokers } from './brokers.ts';
import { canaries } from './canary.ts';
import { coupons } from './coupons.ts';
import { drills } from './drills.ts';
import { consumerLag } from './lag.ts';
import { logs } from './logs.ts';
import { orders } from './orders.ts';
import { overview } from './overview.ts';
import { pay } from './pay.ts';
import { promises } from './promises.ts';
import { promotions } from './promotion.ts';
import { serviceMap } from './service-map.ts';
import { topics } from './topics.ts';
import { workers } from './workers.ts';
import { zookeepers } from './zookeeper.ts';

/** In the order in which they are looked at. */
const all = {
  overview,
  promises,
  brokers,
  topics,
  lag: consumerLag,
  zookeeper: zookeepers,
  canary: canaries,
  promotion: promotions,
  coupons,
  orders,
  pay,
  logs,
  drills,
  workers,
  'service-map': serviceMap,
} as const;

/** File name -> JSON text. */
export function renderDashboards(environment: Environment): Map<string, string> {
  return new Map(
    Object.entries(all).map(([name, make]) => [
      `${name}.json`,
      `${JSON.stringify(make(environment), null, 2)}\n`,
    ]),
  );
}
