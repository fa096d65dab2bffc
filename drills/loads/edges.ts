/**
 * Purchases with an act at the very ends of the promotion's window, and a millisecond beyond them: ordinary traffic never
 * meets them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { GeneratedMessage } from '../../workers/traffic/generate.ts';
import type { SentMessage } from '../../workers/traffic/run.ts';

const windowMs = 300_000;
/** How long before its purchase the act was, ms. The first two count, the others do not. */
export const edgesMs = [windowMs, 0, windowMs + 1, -1] as const;

/** Each edge with the act first and with the purchase first. People and ids are of this run and nobody else's. */
export function edgeMessages(
  run: string,
  userPrefix: string,
  nowMs: number,
): readonly (readonly [GeneratedMessage, GeneratedMessage])[] {
  // Nothing lies in the future, also where another clock is a little behind.
  const purchasedMs = nowMs - 2_000;
  return [true, false].flatMap((actFirst, round) =>
    edgesMs.map((beforeMs, edge) => {
      const number = round * edgesMs.length + edge;
      const userId = `${userPrefix}-edge-${number}`;
      const message = { userId, duplicate: false, id: `${run}-e${number}` };
      const bought = { productId: 'product-1', quantity: 1, amountMinor: 1_000, currency: 'KRW' };
      const purchase: GeneratedMessage = {
        ...message,
        kind: 'purchase',
        eventTimeMs: purchasedMs,
        raw: {
          purchaseId: message.id,
          userId,
          productId: bought.productId,
          quantity: bought.quantity,
          price: bought.amountMinor,
          purchasedAt: purchasedMs,
        },
        purchase: { purchaseId: message.id, ...bought },
      };
      const actedMs = purchasedMs - beforeMs;
      const act: GeneratedMessage = {
        ...message,
        kind: 'promo_behavior',
        eventTimeMs: actedMs,
        raw: { userId, promotionId: 'promo-1', action: 'click', actedAt: actedMs },
        act: { promotionId: 'promo-1', action: 'click' },
      };
      return actFirst ? ([act, purchase] as const) : ([purchase, act] as const);
    }),
  );
}

const paths = { purchase: '/purchases', promo_behavior: '/promo-behaviors' } as const;

/** Sends them over the API; what is not acked after `retryForMs` has failed. Never rejects. */
export async function sendEdges(options: {
  readonly apiUrl: string;
  readonly token: string;
  readonly run: string;
  readonly userPrefix: string;
  readonly retryForMs: number;
  readonly signal: AbortSignal;
}): Promise<readonly SentMessage[]> {
  async function send(message: GeneratedMessage): Promise<SentMessage> {
    const sentAtMs = Date.now();
    let outcome: SentMessage['outcome'] = 'failed';
    while (outcome === 'failed' && !options.signal.aborted && Date.now() < sentAtMs + options.retryForMs) {
      const status = await fetch(`${options.apiUrl}${paths[message.kind]}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${options.token}`,
          'content-type': 'application/json',
          'idempotency-key': `${message.id}-${message.kind}`,
        },
        body: JSON.stringify(message.raw),
        signal: AbortSignal.timeout(10_000),
      }).then(
        (response) => response.status,
        () => 503,
      );
      if (status < 500) outcome = status === 202 ? 'acked' : 'refused';
      else await sleep(500);
    }
    return { message, way: 'api', sentAtMs, settledAtMs: Date.now(), outcome };
  }
  const pairs = edgeMessages(options.run, options.userPrefix, Date.now());
  const sent = await Promise.all(
    pairs.map(async ([first, second]) => [await send(first), await send(second)]),
  );
  return sent.flat();
}
