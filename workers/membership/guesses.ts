/**
 * How often a password may be guessed: counted in Redis before it is looked at, so that many at once are counted, too.
 *
 * A stranger who guesses must not keep the member out. So what is limited most narrowly is an account from one address; an
 * account as a whole, and an address as a whole, are limited only where nobody has logged in to that account from that address
 * lately. All counts end by themselves, and none is prolonged by trying on.
 */
import type { RedisClientType } from 'redis';
import { keyedHash } from '../base/pseudonym.ts';

export const guessLimits = {
  windowMs: 15 * 60_000,
  accountFromAddress: 5,
  account: 20,
  address: 50,
  /** An address from which somebody has logged in is known for so long. */
  knownForMs: 14 * 24 * 3_600_000,
} as const;

/** KEYS: the three counts, known. ARGV: window, the three limits. Answers how long to wait: 0 when it may be tried, and is counted. */
const beginScript = `
local known = redis.call('EXISTS', KEYS[4]) == 1
for i = 1, known and 1 or 3 do
  if tonumber(redis.call('GET', KEYS[i]) or '0') >= tonumber(ARGV[1 + i]) then
    return math.max(redis.call('PTTL', KEYS[i]), 1)
  end
end
for i = 1, 3 do
  if redis.call('INCR', KEYS[i]) == 1 then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return 0`;

/** KEYS: as above. ARGV: how long it is known from now on, or 0. What is gone by itself is not made anew. */
const takeBackScript = `
for i = 1, 3 do
  if tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then redis.call('DECR', KEYS[i]) end
end
if ARGV[1] ~= '0' then redis.call('SET', KEYS[4], '1', 'PX', ARGV[1]) end`;

export interface Guess {
  /** It was the right password. */
  right(): Promise<void>;
  /** It could not be looked at. */
  untried(): Promise<void>;
}

/** Counts a guess. Resolves to how long to wait when there were too many. Redis has neither e-mail nor address, only keyed hashes. */
export async function beginGuess(
  redis: RedisClientType,
  secret: Buffer,
  { email, address }: { readonly email: string; readonly address: string },
): Promise<Guess | { readonly waitMs: number }> {
  const of = (...parts: readonly string[]) => keyedHash(secret, JSON.stringify(parts)).slice(0, 32);
  const [account, from, both] = [of('login', email), of('from', address), of('login', email, address)];
  const keys = [
    `login:both:${both}`,
    `login:account:${account}`,
    `login:address:${from}`,
    `login:known:${both}`,
  ];
  const { windowMs, accountFromAddress, account: ofAccount, address: ofAddress, knownForMs } = guessLimits;
  const limits = [windowMs, accountFromAddress, ofAccount, ofAddress];
  const waitMs = Number(await redis.eval(beginScript, { keys, arguments: limits.map(String) }));
  if (waitMs > 0) return { waitMs };
  const takeBack = async (knownMs: number) => {
    await redis.eval(takeBackScript, { keys, arguments: [String(knownMs)] });
  };
  return { right: () => takeBack(knownForMs), untried: () => takeBack(0) };
}
