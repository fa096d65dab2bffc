/** Members with prepaid money who send each other amounts; some that must be refused, and some that come twice. */
import { type MoneyReport, runMoney } from '../../workers/traffic/money.ts';
import { followRequests, type Part, type Seen, triesOf } from './load.ts';

export interface MoneyRates {
  /** Amounts a second. */
  readonly rate: number;
}

export const money: Part<MoneyRates> = {
  groups: [],
  entrance: 'MUSTER_PAY_URL',
  async start({ rate }, { variables, person, loadMs, closing, retryForMs, signal }) {
    const progress = followRequests('money');
    const all = runMoney({
      payUrl: variables.MUSTER_PAY_URL!,
      token: variables.MUSTER_API_TOKEN!,
      rate,
      durationMs: loadMs,
      closing,
      memberPrefix: person,
      retryForMs,
      signal,
      onInsisted: progress.onInsisted,
    });
    return { progress, done: all.then(seenOf), told: async () => ({ money: await all }) };
  },
};

function seenOf({ sent, sendMs, problems }: MoneyReport): Seen {
  return {
    sent: sent.length,
    failed: sent.filter(({ outcome, owes }) => outcome !== owes).length,
    failedTries: triesOf(problems),
    sentAtMs: new Map(sent.flatMap(({ transferIds, sentAtMs }) => transferIds.map((id) => [id, sentAtMs]))),
    ...(sendMs === undefined ? {} : { latencyMs: sendMs }),
  };
}
