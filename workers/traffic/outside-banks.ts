/** The banks outside, as traffic needs them: with a contract and an account of ours, and misbehaving. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';

/** What lies at our account at each bank, so that payouts are covered. */
const corporateMinor = 1_000_000_000_000;

/** Makes contracts with banks, and puts money of ours there. Rejects when that does not go well. */
export async function openBanks(
  pay: Client,
  world: Client,
  { banks, prefix }: { readonly banks: readonly string[]; readonly prefix: string },
): Promise<void> {
  const newKey = () => ({ 'idempotency-key': randomUUID() });
  for (const bank of banks) {
    const accountNumber = `${prefix}-ours`;
    await world.call('PUT', `/banks/${bank}/behaviour`, { mode: 'ok' });
    await world.call('PUT', `/banks/${bank}/accounts/${accountNumber}`, { depositMinor: corporateMinor });
    const contract = await pay.call(
      'PUT',
      `/pay/banking/contracts/${bank}`,
      {
        state: 'ACTIVE',
        expiresAt: '2100-01-01T00:00:00Z',
        fee: { amountMinor: 300, currency: 'KRW' },
        callLimitMinor: 1_000_000_000,
        dayLimitMinor: Number.MAX_SAFE_INTEGER,
      },
      newKey(),
    );
    const ours = await pay.insist(
      '/pay/banking/accounts',
      { ofTheHouse: true, bank, accountNumber },
      newKey(),
    );
    const corporate = await pay.call(
      'PUT',
      `/pay/banking/contracts/${bank}/corporate-account`,
      { accountId: ours?.json.accountId },
      newKey(),
    );
    if (contract.status !== 200 || ours?.status !== 201 || corporate.status !== 200)
      throw new Error(
        `no contract with ${bank}: ${contract.status}, ${ours?.status}, ${corporate.status} ${JSON.stringify(corporate.json)}`,
      );
  }
}

/** Longer than a call may take: then nobody knows how it ended. */
const lateMs = 7_000;
const modes: readonly object[] = [
  { mode: 'ok' },
  { mode: 'ok' },
  { mode: 'lose-answer', first: 1 },
  { mode: 'lose-answer' },
  { mode: 'cut', first: 2 },
  { mode: 'late', delayMs: lateMs, first: 1 },
  { mode: 'slow', delayMs: 1_000 },
  { mode: 'twice' },
  { mode: 'reject' },
  { mode: 'no-contract' },
  { mode: 'down' },
  { mode: 'hang' },
];

/** Each bank is another way wrong every few seconds. Resolves, when called, to all of them being as they should. */
export function misbehave(
  world: Client,
  banks: readonly string[],
  random: () => number,
): () => Promise<void> {
  const ending = new AbortController();
  const behave = (bank: string, mode: object) =>
    world.call('PUT', `/banks/${bank}/behaviour`, mode).catch(() => undefined);
  const working = banks.map(async (bank) => {
    while (!ending.signal.aborted) {
      await behave(bank, modes[Math.floor(random() * modes.length)]!);
      await sleep(2_000 + random() * 6_000, undefined, { signal: ending.signal }).catch(() => undefined);
    }
    // Its world may be away just now: it comes back as it should be.
    await behave(bank, { mode: 'ok' });
  });
  return async () => {
    ending.abort();
    await Promise.all(working);
  };
}
