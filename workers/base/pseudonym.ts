/** Pseudonyms: what stands for a person wherever the person must not be known. Pure, apart from a bounded cache. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

/** Users per cache generation: about 130 bytes each, so at most some 10 MB in two generations. */
const generationSize = 40_000;

interface Generations {
  readonly key: KeyObject;
  young: Map<string, string>;
  old: Map<string, string>;
}
const caches = new WeakMap<Buffer, Generations>();

/**
 * Keyed pseudonym of a user: `u_` + base64url of the first 128 bits of HMAC-SHA-256(key, user id as UTF-8).
 * The same user and key always give the same answer, so counting and joining still work; without the key the user
 * cannot be found by trying ids. Throws a TypeError when the key is empty.
 */
export function pseudonym(key: Buffer, userId: string): string {
  let cache = caches.get(key);
  if (cache === undefined) {
    if (key.length === 0) throw new TypeError('the pseudonym key is empty');
    cache = { key: createSecretKey(key), young: new Map(), old: new Map() };
    caches.set(key, cache);
  }
  const hit = cache.young.get(userId);
  if (hit !== undefined) return hit;
  const older = cache.old.get(userId);
  const value =
    older ??
    `u_${createHmac('sha256', cache.key).update(userId, 'utf8').digest().subarray(0, 16).toString('base64url')}`;
  if (cache.young.size >= generationSize) {
    cache.old = cache.young;
    cache.young = new Map();
  }
  cache.young.set(userId, value);
  return value;
}
