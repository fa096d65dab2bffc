/** People who order dishes, cook and ride, until each order has ended, and who look at what they are told. */
import { groups } from '../../catalog/groups.ts';
import { type DeliveryReport, runDelivery } from '../../workers/traffic/delivery.ts';
import { followRequests, type Part, type Seen, triesOf } from './load.ts';

export interface DeliveryRates {
  /** Orders a second. */
  readonly rate: number;
}

/** Of so many orders a second; an order keeps a rider for a second and what it takes to tell. */
const ridersFor = 3;

export const delivery: Part<DeliveryRates> = {
  groups: [groups.deliveryOrders, groups.deliveryRiders, groups.deliveryMessages, groups.deliveryLog],
  entrance: 'MUSTER_DELIVERY_URL',
  async start({ rate }, { variables, tokenOf, run, person, seed, loadMs, closing, retryForMs, signal }) {
    const progress = followRequests('deliveries');
    const all = runDelivery(
      {
        deliveryUrl: variables.MUSTER_DELIVERY_URL!,
        tokenOf,
        prefix: person,
        district: run,
        seed,
        retryForMs,
        signal,
        onInsisted: progress.onInsisted,
        count: { customers: 6, owners: 2, riders: Math.max(8, ridersFor * rate) },
      },
      { rate, durationMs: loadMs, closing },
    );
    return { progress, done: all.then(seenOf), told: async () => ({ delivery: await all }) };
  },
};

function seenOf({ orders, placeMs, problems }: DeliveryReport): Seen {
  return {
    sent: orders.length,
    failed: orders.filter(
      ({ outcome, owes }) => outcome === 'failed' || (owes !== 'either' && outcome !== owes),
    ).length,
    failedTries: triesOf(problems),
    undecided: orders.flatMap(({ outcome, end, ids }) =>
      outcome === 'accepted' && end === undefined ? ids : [],
    ),
    sentAtMs: new Map(orders.flatMap(({ ids, sentAtMs }) => ids.map((id) => [id, sentAtMs] as const))),
    ...(placeMs === undefined ? {} : { latencyMs: placeMs }),
  };
}
