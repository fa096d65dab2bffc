/** Members with prepaid money who send each other some of it: makes every counter of worker `money` move. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const members = 5;

/** Sends `rate` amounts a second until `signal` fires; resolves to how many were booked. Rejects at an answer other than 2xx. */
export async function sendMoney(options: {
  readonly payUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  readonly rate: number;
  readonly signal: AbortSignal;
}): Promise<{ readonly booked: number }> {
  const { payUrl, rate, signal } = options;
  const run = randomUUID().slice(0, 8);
  const nameOf = (index: number) => `${run}-member-${index % members}`;
  const amount = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
  const call = async (method: string, path: string, body: unknown) => {
    const response = await fetch(`${payUrl}/pay/money/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${options.token}`,
        'content-type': 'application/json',
        'idempotency-key': randomUUID(),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  };
  for (let index = 0; index < members; index++) {
    await call('PUT', `accounts/${nameOf(index)}`, { state: 'OPEN' });
    await call('POST', 'increases', { memberId: nameOf(index), amount: amount(1_000_000) });
  }
  let booked = 0;
  for (; !signal.aborted; booked++) {
    await call('POST', 'transfers', { from: nameOf(booked), to: nameOf(booked + 1), amount: amount(100) });
    await sleep(1_000 / rate, undefined, { signal }).catch(() => undefined);
  }
  return { booked };
}
