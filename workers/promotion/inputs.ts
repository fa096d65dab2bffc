/** What all ways in share: a standardised input, or a dead letter, as the record that is sent. */
import { Type } from 'typebox';
import type { PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { deadLetterTopic, topics } from '../../catalog/topics.ts';
import { platformSettings } from '../base/config.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Standardised } from './fields.ts';
import { standardisePromoBehavior, standardisePurchase } from './standardise.ts';

/** The setting of all workers that read inputs. */
export const inputSettings = Type.Object({ TIME_ZONE: platformSettings.properties.TIME_ZONE });

/** The two inputs, named as their topics (and as the folders of the log inbox). */
export type InputKind = 'purchase' | 'promo_behavior';

export interface InputOptions {
  readonly timeZone: string;
  /** Becomes the purchase id of a purchase that brings none. */
  readonly fallbackId?: string;
  /** Becomes the user id of what brings none. */
  readonly fallbackUserId?: string | undefined;
}

export interface RecordMeta {
  /** ce_id: the same for every copy of the same message, so that whoever reads can drop the second one. */
  readonly id: string;
  /** ce_source: which way in. */
  readonly source: string;
  readonly nowMs: number;
}

const inputTopics = { purchase: topics.purchase, promo_behavior: topics.promoBehavior } as const;
const eventTypes = { purchase: 'Purchase', promo_behavior: 'PromoBehavior' } as const;

/** Standardises one message of either input. */
export function standardise(
  kind: InputKind,
  raw: unknown,
  options: InputOptions,
): Standardised<Purchase | PromoBehavior> {
  return kind === 'purchase' ? standardisePurchase(raw, options) : standardisePromoBehavior(raw, options);
}

/**
 * The record of a standardised input: keyed by user id, so that both sides of the join share a partition. The producer adds
 * the traceparent of the request that is under way.
 */
export function inputRecord(
  kind: InputKind,
  value: Purchase | PromoBehavior,
  meta: RecordMeta,
): OutgoingRecord {
  return eventRecord({
    topic: inputTopics[kind].name,
    key: value.userId,
    type: eventTypes[kind],
    source: meta.source,
    id: meta.id,
    timeMs: meta.nowMs,
    data: value,
  });
}

/** More of a rejected line than this does not help anybody and would not fit into a Kafka record. */
export const deadLetterMaxBytes = 256 * 1024;

/**
 * The dead letter of an input that never was a Kafka record (a log line): raw bytes, cut at `deadLetterMaxBytes`,
 * with the reason and where it came from in headers.
 */
export function inputDeadLetter(
  kind: InputKind,
  raw: Buffer,
  failure: { readonly code: string; readonly reason: string },
  origin: { readonly id: string; readonly source: string; readonly nowMs: number; readonly cut?: boolean },
): OutgoingRecord {
  const cut = origin.cut === true || raw.length > deadLetterMaxBytes;
  return {
    topic: deadLetterTopic(inputTopics[kind]).name,
    key: null,
    value: raw.length > deadLetterMaxBytes ? raw.subarray(0, deadLetterMaxBytes) : raw,
    headers: {
      ce_id: origin.id,
      'muster-error-code': failure.code,
      'muster-error-reason': failure.reason,
      'muster-source': origin.source,
      'muster-failed-at': new Date(origin.nowMs).toISOString(),
      ...(cut ? { 'muster-cut': 'true' } : {}),
    },
  };
}
