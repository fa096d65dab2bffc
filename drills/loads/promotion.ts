/** Purchases and acts by all three entrances, and purchases at the very ends of the window. */
import { groups } from '../../catalog/groups.ts';
import { personalTraces } from '../../workers/traffic/notations.ts';
import { runTraffic } from '../../workers/traffic/run.ts';
import type { Attempt } from '../runner/measure.ts';
import { sendEdges } from './edges.ts';
import { type Part, type Seen, triesOf } from './load.ts';

export interface PromotionRates {
  /** Messages a second through API, log files and plain Kafka; with this share twice, late, and not to be understood. */
  readonly rate: number;
  readonly duplicateShare?: number;
  readonly outOfOrderShare?: number;
  readonly poisonShare?: number;
}

export const promotion: Part<PromotionRates> = {
  groups: [groups.promotionJoin],
  async start(rates, { entrances, variables, run, person, seed, retryForMs, signal }) {
    const { apiUrl } = entrances;
    const token = variables.MUSTER_API_TOKEN!;
    const ending = new AbortController();
    const producer = await entrances.kafka.producer('drill');
    const all = Promise.all([
      runTraffic({
        ...rates,
        run,
        apiUrl,
        token,
        seed,
        kafka: producer,
        logDirectory: variables.LOG_INBOX_DIRECTORY!,
        record: true,
        steady: true,
        // People of this run only: acts of other runs would join purchases that the oracle knows nothing of.
        userPrefix: person,
        retryForMs,
        endWithinMs: retryForMs,
        signal: AbortSignal.any([signal, ending.signal]),
      }),
      sendEdges({ apiUrl, token, run, userPrefix: person, retryForMs, signal }),
    ]);
    return {
      end: () => ending.abort(),
      done: all.then(async ([report]) => {
        await producer.close();
        return seenOf(report);
      }),
      async told() {
        const [{ messages = [] }, edges] = await all;
        return { promotion: { messages: [...messages, ...edges], personal: personalTraces } };
      },
    };
  },
};

function seenOf(report: Awaited<ReturnType<typeof runTraffic>>): Seen {
  const attempts: Attempt[] = [];
  const purchases = new Map<string, number>();
  const sentAtMs = new Map<string, number>();
  for (const { message, way, outcome, sentAtMs: atMs, settledAtMs } of report.messages ?? []) {
    if ('poison' in message || outcome === 'refused') continue;
    const isAcked = outcome === 'acked';
    attempts.push({ observer: `way ${way}`, sentAtMs: atMs, ...(isAcked ? { settledAtMs } : {}) });
    const id = message.purchase?.purchaseId;
    if (id === undefined) continue;
    sentAtMs.set(id, Math.min(atMs, sentAtMs.get(id) ?? atMs));
    if (isAcked && settledAtMs < (purchases.get(id) ?? Number.POSITIVE_INFINITY))
      purchases.set(id, settledAtMs);
  }
  const { sent, failed, unexpected, problems } = report;
  return {
    attempts,
    purchases,
    sentAtMs,
    sent,
    failed: failed + unexpected,
    failedTries: triesOf(problems),
  };
}
