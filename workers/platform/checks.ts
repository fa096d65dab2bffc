/** What a capability hands to the worker `promises`: a check for each of its promises (catalog/promises.ts). */
import type { Kysely } from 'kysely';
import type { RedisClientType } from 'redis';
import type { PromiseCapability, PromiseSpec, PromisesOf } from '../../catalog/promises.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import type { Kafka } from '../kafka/kafka.ts';

/** What a check has seen. */
export interface Evidence {
  /** Of how many it is not true; counted up to `mostBroken`. */
  readonly broken: number;
  /** The first of them, at most `shownIds`. Business ids: nothing personal. */
  readonly ids: readonly string[];
  /** Since when the oldest of them breaks the promise, UTC ms; undefined: nobody knows, since it was first seen. */
  readonly sinceMs?: number | undefined;
}

export const mostBroken = 1_000;
export const shownIds = 10;

/**
 * Looks at the live stores and topics, once. What it cannot see it rejects with: it never answers without having looked.
 * Each question uses an index; what is large is read by and by.
 */
export type Check = () => Promise<Evidence>;

export interface CheckDeps {
  /** The shop's unless another is named: checks may look into all of them. */
  database(name?: DatabaseName): Promise<Kysely<unknown>>;
  redis(): Promise<RedisClientType>;
  readonly kafka: Pick<Kafka, 'admin' | 'read'>;
  readonly pseudonymKey: Buffer;
  /** Base address of the log store. */
  readonly logStoreUrl: string;
  /** How long an order waits for its payment. */
  readonly payWithinMs: number;
}

/** The checks of a capability, a maker for each promise: what a check remembers lives in its closure. */
export type ChecksOf<Capability extends PromiseCapability> = {
  readonly [Name in PromisesOf<Capability>]: (deps: CheckDeps, promise: PromiseSpec) => Check;
};

/** A promise that is looked at in several ways. */
export const together =
  (...checks: readonly Check[]): Check =>
  async () => {
    const seen: Evidence[] = [];
    for (const check of checks) seen.push(await check());
    const since = seen.flatMap(({ sinceMs }) => sinceMs ?? []);
    return {
      broken: seen.reduce((sum, { broken }) => sum + broken, 0),
      ids: seen.flatMap(({ ids }) => ids).slice(0, shownIds),
      sinceMs: since.length === 0 ? undefined : Math.min(...since),
    };
  };

/** Evidence from rows, a row for each that breaks the promise. */
export function evidenceOf(
  rows: readonly { readonly id: string; readonly sinceMs?: number | undefined }[],
): Evidence {
  const since = rows.flatMap(({ sinceMs }) => sinceMs ?? []);
  return {
    broken: rows.length,
    ids: rows.slice(0, shownIds).map(({ id }) => id),
    sinceMs: since.length === 0 ? undefined : Math.min(...since),
  };
}
