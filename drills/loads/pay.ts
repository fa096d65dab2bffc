/** Members of my-pay who recharge, remit and pay merchants while their banks misbehave, by the seed. They have joined before it begins. */
import { openPay, type PayReport } from '../../workers/traffic/pay.ts';
import { followRequests, type Part, type Seen, triesOf } from './load.ts';

export interface PayRates {
  /** Requests a second. */
  readonly rate: number;
}

/** Of drills alone: whoever else is there has banks that behave. */
const banks = ['drill-one', 'drill-two'];

export const pay: Part<PayRates> = {
  groups: [],
  entrance: 'MUSTER_PAY_URL',
  async start({ rate }, { variables, person, seed, loadMs, closing, retryForMs, signal }) {
    const progress = followRequests('pay');
    const world = await openPay({
      payUrl: variables.MUSTER_PAY_URL!,
      outsideUrl: variables.MUSTER_OUTSIDE_WORLD_URL!,
      token: variables.MUSTER_API_TOKEN!,
      prefix: person,
      banks,
      seed,
      retryForMs,
      signal,
      onInsisted: progress.onInsisted,
    });
    const all = world.run({ rate, durationMs: loadMs, closing, misbehave: true }).finally(world.close);
    return { progress, done: all.then(seenOf), told: async () => ({ pay: await all }) };
  },
};

function seenOf({ asked, acceptMs, problems }: PayReport): Seen {
  return {
    sent: asked.length,
    failed: asked.filter(({ outcome, owes }) => outcome !== (owes === 'refused' ? 'refused' : 'accepted'))
      .length,
    failedTries: triesOf(problems),
    undecided: asked.flatMap(({ outcome, end, ids }) =>
      outcome === 'accepted' && end === undefined ? ids : [],
    ),
    sentAtMs: new Map(asked.flatMap(({ ids, sentAtMs }) => ids.map((id) => [id, sentAtMs] as const))),
    ...(acceptMs === undefined ? {} : { latencyMs: acceptMs }),
  };
}
