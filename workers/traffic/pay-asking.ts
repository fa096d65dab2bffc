/** Sends what members of my-pay ask for, and follows it to its end, as they do: by asking for it again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type Client, codeOf, percentiles } from './client.ts';
import { amountOf } from './pay-members.ts';
import type { Asked, PayKind, Wish } from './pay-wishes.ts';

/** A wish that was sent, and what came of it. */
export interface Sent extends Omit<Asked, 'owes' | 'end'> {
  readonly answer: Answer | undefined;
  readonly tookMs: number;
}

const paths: Readonly<Record<Exclude<PayKind, 'refund'>, string>> = {
  recharge: '/pay/money/recharges',
  remittance: '/pay/remittances',
  payment: '/pay/payments',
};
interface Named {
  readonly kind: PayKind;
  readonly paymentId?: string;
}
/** Where it is asked for. */
const pathOf = ({ kind, paymentId }: Named): string =>
  kind === 'refund' ? `${paths.payment}/${paymentId}/refunds` : paths[kind];
/** Where it says what became of it. */
const pathTo = ({ kind, paymentId }: Named, id: string): string =>
  kind === 'refund' ? `${paths.payment}/${paymentId}` : `${paths[kind]}/${id}`;

interface Found {
  readonly state?: string;
  readonly refunds?: readonly { readonly refundId: string; readonly state: string }[];
}
const stateIn = ({ kind }: Named, id: string, found: Found): string | undefined =>
  kind === 'refund' ? found.refunds?.find(({ refundId }) => refundId === id)?.state : found.state;

export type Asking = ReturnType<typeof openAsking>;

/** @param tell called with each that has ended or will not */
export function openAsking(client: Client, tell: (asked: Asked) => void, signal: AbortSignal | undefined) {
  const acceptMs: number[] = [];
  const endMs: number[] = [];
  let accepted = 0;
  let waitsUntilMs = Number.POSITIVE_INFINITY;
  const note = (list: number[], ms: number) => {
    // Ten minutes at 200/s fit.
    if (list.length < 120_000) list.push(ms);
  };

  async function endOf(named: Named, id: string): Promise<Asked['end']> {
    const fromMs = performance.now();
    // Ever less often: what takes long is asked for by many, and their questions would be what makes it slow.
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 1.5, 10_000)) {
      await sleep(waitMs);
      const answer = await client.call('GET', pathTo(named, id)).catch(() => undefined);
      const state = answer?.status === 200 ? stateIn(named, id, answer.json) : undefined;
      if (state === 'DONE' || state === 'FAILED') {
        note(endMs, performance.now() - fromMs);
        return state;
      }
      if (performance.now() > waitsUntilMs || signal?.aborted === true) return undefined;
    }
  }

  /** Sends it so many times at the same moment, under one key. */
  async function post(wish: Omit<Wish, 'owes'>, amountMinor: number, key: string, atOnce = 1): Promise<Sent> {
    const { kind, from, merchant, paymentId, body } = wish;
    const sentAtMs = Date.now();
    const answers = await Promise.all(
      Array.from({ length: atOnce }, () =>
        client.insist(pathOf(wish), { ...body, amount: amountOf(amountMinor) }, { 'idempotency-key': key }),
      ),
    );
    const ids = answers.flatMap((one) => (one?.status === 202 ? [String(one.json[`${kind}Id`])] : []));
    const answer = answers.find((one) => one?.status === 202) ?? answers[0];
    return {
      kind,
      ids,
      from: from.memberId,
      ...(merchant === undefined ? {} : { merchant }),
      ...(paymentId === undefined ? {} : { paymentId }),
      amountMinor,
      outcome: ids.length > 0 ? 'accepted' : answers.every((one) => one !== undefined) ? 'refused' : 'failed',
      sentAtMs,
      answer,
      tookMs: answer?.tookMs ?? 0,
    };
  }

  /** Tells of it when it has ended; resolves to how. */
  async function follow({ answer, tookMs, ...sent }: Sent, owes: Asked['owes']): Promise<Asked['end']> {
    const { outcome, ids } = sent;
    if (outcome === 'refused' && owes !== 'refused') client.problem(codeOf(answer!));
    if (outcome === 'accepted') {
      accepted += 1;
      note(acceptMs, tookMs);
    }
    const end = outcome === 'accepted' ? await endOf(sent, ids[0]!) : undefined;
    tell({ ...sent, owes, end });
    return end;
  }

  return {
    post,
    follow,
    accepted: () => accepted,
    /** Nobody waits longer for an end; performance.now(). */
    waitUntil(ms: number) {
      waitsUntilMs = ms;
    },
    /** From sending (the first try) to the acceptance, and from there to its end as seen by asking, ms. */
    times: () => ({ acceptMs: percentiles(acceptMs), endMs: percentiles(endMs) }),
  };
}
