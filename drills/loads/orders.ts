/** People who order and pay, and products whose price changes; each payment is told to a system outside by webhook. */
import { groups } from '../../catalog/groups.ts';
import { type OrdersReport, runOrders } from '../../workers/traffic/orders.ts';
import { followRequests, type Part, type Seen, triesOf } from './load.ts';
import { changePrices } from './price-changes.ts';

export interface OrderRates {
  /** Orders placed and paid a second. */
  readonly rate: number;
}

const stockOfProducts = 1_000_000;
/** Few enough that the same one pays again and again: only then is there an order to keep. */
const customers = 100;

export const orders: Part<OrderRates> = {
  groups: [groups.orderRanking, groups.outsideEvents],
  async start({ rate }, { entrances, variables, run, person, seed, loadMs, closing, retryForMs, signal }) {
    const { apiUrl } = entrances;
    const token = variables.MUSTER_API_TOKEN!;
    const progress = followRequests('orders');
    const shopIsOpen = AbortSignal.any([
      signal,
      AbortSignal.timeout(loadMs),
      ...(closing === undefined ? [] : [closing]),
    ]);
    const all = Promise.all([
      runOrders({
        apiUrl,
        token,
        rate,
        durationMs: loadMs,
        closing,
        products: 8,
        stock: stockOfProducts,
        userPrefix: person,
        users: customers,
        retryForMs,
        record: true,
        seed,
        signal,
        onInsisted: progress.onInsisted,
      }),
      changePrices(apiUrl, token, run, shopIsOpen),
    ]);
    return {
      progress,
      done: all.then(([sold]) => seenOf(sold)),
      async told() {
        const [sold, changed] = await all;
        return { orders: { ...sold, changed, stock: stockOfProducts } };
      },
    };
  },
};

function seenOf({ paid, refused, failed, problems, payMs, orders: placed }: OrdersReport): Seen {
  return {
    sent: paid + refused + failed,
    failed: failed + refused,
    failedTries: triesOf(problems),
    sentAtMs: new Map(
      placed.flatMap(({ orderId, paySentAtMs }) =>
        paySentAtMs === undefined ? [] : [[orderId, paySentAtMs]],
      ),
    ),
    ...(payMs === undefined ? {} : { latencyMs: payMs }),
  };
}
