import test from 'ava';
import {
  createGenerator,
  type GeneratedMessage,
  loadFactor,
  type PoisonMessage,
  seededRandom,
  zipf,
} from './generate.ts';

const startMs = Date.UTC(2026, 10, 21, 1, 0, 0);
const windowMs = 300_000;

/** So many messages at a steady rate. */
function generate(
  count: number,
  perSecond: number,
  options: Partial<Parameters<typeof createGenerator>[0]> = {},
) {
  const generator = createGenerator({ seed: 42, ...options });
  return Array.from({ length: count }, (_, i) =>
    generator.next(startMs + Math.floor((i * 1_000) / perSecond)),
  );
}
const valid = (messages: readonly (GeneratedMessage | PoisonMessage)[]) =>
  messages.filter((message): message is GeneratedMessage => !('poison' in message));

test('the same seed gives the same messages, another seed others', (t) => {
  t.deepEqual(generate(500, 100), generate(500, 100));
  t.notDeepEqual(generate(500, 100), generate(500, 100, { seed: 43 }));
});

test('acts and purchases come in equal parts, and about 40 % of purchases follow an act within 5 minutes', (t) => {
  const messages = valid(generate(60_000, 100)).filter(({ duplicate }) => !duplicate);
  const purchases = messages.filter(({ purchase }) => purchase !== undefined);
  t.true(Math.abs(purchases.length / messages.length - 0.5) < 0.03);
  const actsOf = new Map<string, number[]>();
  for (const { act, userId, eventTimeMs } of messages) {
    if (act !== undefined) actsOf.set(userId, [...(actsOf.get(userId) ?? []), eventTimeMs]);
  }
  const affected = purchases.filter(({ userId, eventTimeMs }) =>
    actsOf.get(userId)?.some((atMs) => atMs <= eventTimeMs && eventTimeMs - atMs <= windowMs),
  );
  const share = affected.length / purchases.length;
  t.true(share > 0.35 && share < 0.45, String(share));
});

test('ids are unique but for duplicates, which repeat the first message', (t) => {
  const first = new Map<string, GeneratedMessage>();
  let duplicates = 0;
  for (const message of valid(generate(20_000, 100))) {
    if (!message.duplicate) {
      t.false(first.has(message.id));
      first.set(message.id, message);
    } else {
      duplicates += 1;
      t.deepEqual(message.raw, first.get(message.id)?.raw);
    }
  }
  t.true(duplicates > 100 && duplicates < 300, String(duplicates));
});

test('some messages are out of order by a few seconds, none by more', (t) => {
  let newest = 0;
  let late = 0;
  for (const { eventTimeMs, duplicate } of valid(generate(20_000, 100))) {
    if (duplicate) continue;
    // Epoch seconds cut up to 999 ms off; that is no disorder of delivery.
    if (eventTimeMs < newest - 1_000) late += 1;
    t.true(newest - eventTimeMs < 5_000);
    newest = Math.max(newest, eventTimeMs);
  }
  t.true(late > 200, String(late));
});

test('every notation says what the message means', (t) => {
  const spellings = new Set<string>();
  for (const { raw, eventTimeMs, purchase, userId } of valid(generate(5_000, 100))) {
    const time = raw.purchasedAt ?? raw.purchased_at ?? raw.actedAt ?? raw.acted_at ?? raw.ts;
    const written =
      typeof time === 'number'
        ? time < 1e11
          ? time * 1_000
          : time
        : Date.parse(/Z|\+/.test(String(time)) ? String(time) : `${time}+09:00`);
    t.is(written, eventTimeMs);
    t.is(raw.userId ?? raw.user_id ?? raw.uid, userId);
    if (purchase !== undefined) {
      const price = raw.price ?? raw.amount;
      if (typeof price === 'object')
        t.is((price as { amountMinor: number }).amountMinor, purchase.amountMinor);
      else t.is(Number(String(price).replace(/(?:US\$|[₩,.])/g, '')), purchase.amountMinor);
    }
    for (const name of Object.keys(raw)) spellings.add(name);
  }
  for (const name of ['userId', 'user_id', 'uid', 'ts', 'qty', 'amount', 'price'])
    t.true(spellings.has(name), name);
});

test('few users make much of the traffic', (t) => {
  const counts = new Map<string, number>();
  const acts = valid(generate(20_000, 100)).filter(({ act }) => act !== undefined);
  for (const { userId } of acts) counts.set(userId, (counts.get(userId) ?? 0) + 1);
  const sorted = [...counts.values()].sort((a, b) => b - a);
  const top = sorted.slice(0, sorted.length / 10).reduce((sum, count) => sum + count, 0);
  t.true(top / acts.length > 0.25, String(top / acts.length));
  t.regex(acts[0]!.userId, /^user-\d{6}$/);
});

test('poison comes only when asked for', (t) => {
  t.is(generate(5_000, 100).filter((message) => 'poison' in message).length, 0);
  const poison = generate(5_000, 100, { poisonShare: 0.05 }).filter((message) => 'poison' in message);
  t.true(poison.length > 150 && poison.length < 350, String(poison.length));
});

test('the load swells and bursts, and is 1 on average', (t) => {
  let sum = 0;
  let highest = 0;
  for (let ms = 0; ms < 5_400_000; ms += 100) {
    sum += loadFactor(ms);
    highest = Math.max(highest, loadFactor(ms));
  }
  t.true(Math.abs(sum / 54_000 - 1) < 0.01, String(sum / 54_000));
  t.true(highest > 2);
});

test('zipf gives rank r about 1 / (r + 1) of the share of rank 0', (t) => {
  const rank = zipf(100, 1);
  const random = seededRandom(1);
  const counts = new Array<number>(100).fill(0);
  for (let i = 0; i < 100_000; i += 1) counts[rank(random())]! += 1;
  t.true(Math.abs(counts[0]! / counts[9]! - 10) < 1.5, String(counts[0]! / counts[9]!));
  t.is(rank(0), 0);
  t.is(rank(0.999_999_999), 99);
});
