/** What is sent to the inputs of promotion: purchases and acts in order in odd envelopes, and what is none. */
import { CompressionAlgorithms, type CompressionAlgorithmValue } from '@platformatic/kafka';
import { topics } from '../../catalog/topics.ts';
import { partitionFor } from '../../workers/kafka/kafka.ts';
import { type ForeignMessage, owedHeader } from '../checker/foreign.ts';
import type { LoadStage } from './load.ts';

export interface Sending {
  readonly topic: string;
  readonly key: string;
  readonly value?: Buffer;
  readonly headers?: readonly (readonly [string, Buffer | string])[];
  readonly timestamp?: bigint;
  /** Default: as the client's partitioner chooses, which is not ours. */
  readonly partition?: number;
}

/** Records that are sent one after the other, each when the one before it is acked, and what they owe. */
export interface Round {
  readonly what: string;
  readonly compression?: CompressionAlgorithmValue;
  readonly transaction?: 'commit' | 'abort';
  readonly batches: readonly (readonly Sending[])[];
  readonly messages: readonly Omit<ForeignMessage, 'isAcked' | 'what'>[];
}

const purchaseTopic = topics.purchase.name;
const actTopic = topics.promoBehavior.name;
/** With its envelope it is just below what the topic takes. */
export const hugeBytes = 1_000_000;
const hugeHeaderBytes = 300_000;
/** The round of a number; ids and people are of the run. */
export type MakeRound = (stage: Pick<LoadStage, 'run' | 'person'>, number: number) => Round;

/** Not below the run's own ids: answers to these are for the checker of this load only. */
export const idOf = (run: string, number: number, index = 0) => `foreign-${run}-${number}x${index}`;
export const json = (value: object) => Buffer.from(JSON.stringify(value));

function purchaseOf({ run, person }: Pick<LoadStage, 'run' | 'person'>, number: number, index = 0) {
  const userId = `${person}-foreign-${number}-${index}`;
  const purchasedAt = new Date().toISOString();
  return {
    purchaseId: idOf(run, number, index),
    userId,
    productId: 'product-1',
    quantity: 1,
    price: 1_000,
    currency: 'KRW',
    purchasedAt,
  };
}

/** Twenty people, who act and then buy. Much alike, so that no codec leaves them as they are. */
function people(stage: Pick<LoadStage, 'run' | 'person'>, number: number) {
  const purchases = Array.from({ length: 20 }, (_, index) => purchaseOf(stage, number, index));
  const acts = purchases.map(({ userId, purchasedAt }) => ({
    userId,
    promotionId: 'promo-1',
    action: 'click',
    actedAt: new Date(Date.parse(purchasedAt) - 1_000).toISOString(),
  }));
  const record = (topic: string) => (value: { readonly userId: string }) => ({
    topic,
    key: value.userId,
    value: json(value),
  });
  return {
    batches: [acts.map(record(actTopic)), purchases.map(record(purchaseTopic))],
    ids: purchases.map(({ purchaseId }) => purchaseId),
  };
}

export function foreignRounds(): readonly MakeRound[] {
  const codecs = Object.values(CompressionAlgorithms).map(
    (compression): MakeRound =>
      (stage, number) => {
        const { batches, ids } = people(stage, number);
        const messages = ids.map((id) => ({ id, owes: { affect: 1 } as const }));
        return { what: `compressed with ${compression}`, compression, batches, messages };
      },
  );
  const transactions = (['commit', 'abort'] as const).map(
    (transaction): MakeRound =>
      (stage, number) => {
        const { batches, ids } = people(stage, number);
        const owes = transaction === 'commit' ? ({ affect: 1 } as const) : 'nothing';
        return {
          what: `in a transaction (${transaction})`,
          transaction,
          batches: batches.map((batch) => batch.slice(0, 3)),
          messages: ids.slice(0, 3).map((id) => ({ id, owes })),
        };
      },
  );
  return [...codecs, ...transactions];
}

export const broken: NonNullable<Sending['headers']> = [
  ['traceparent', Buffer.from([0xff, 0xfe, 0x00])],
  ['ce_id', ''],
  ['ce_time', 'yesterday'],
  ['content-type', Buffer.from([0xc3, 0x28])],
  ['muster-appended-at', 'NaN'],
];
export const huge: NonNullable<Sending['headers']> = [['note', 'h'.repeat(hugeHeaderBytes)]];
export const many: NonNullable<Sending['headers']> = Array.from({ length: 1_000 }, (_, index) => [
  `h-${index}`,
  'x',
]);

export function oddRounds(): readonly MakeRound[] {
  type Extras = Pick<Sending, 'headers' | 'timestamp'>;
  /** A purchase in order, in an odd envelope. */
  const good =
    (what: string, extras: Extras, fields: object = {}): MakeRound =>
    (stage, number) => {
      const purchase = purchaseOf(stage, number);
      const record = {
        topic: purchaseTopic,
        key: purchase.userId,
        value: json({ ...purchase, ...fields }),
        ...extras,
      };
      return { what, batches: [[record]], messages: [{ id: purchase.purchaseId, owes: { affect: 0 } }] };
    };
  /** What cannot be understood: a dead letter for this code. */
  const bad =
    (
      what: string,
      code: string,
      value: Buffer | undefined | ((purchase: object) => Buffer),
      { topic = purchaseTopic, headers = [] }: { topic?: string; headers?: Sending['headers'] } = {},
    ): MakeRound =>
    (stage, number) => {
      const { userId, ...rest } = purchaseOf(stage, number);
      const id = idOf(stage.run, number);
      const bytes = typeof value === 'function' ? value({ userId, ...rest }) : value;
      const record = {
        topic,
        key: userId,
        headers: [[owedHeader, id] as const, ...headers],
        ...(bytes === undefined ? {} : { value: bytes }),
      };
      return { what, batches: [[record]], messages: [{ id, owes: { code } }] };
    };
  const twice: MakeRound = (stage, number) => {
    const purchase = purchaseOf(stage, number);
    const { purchaseId: id, userId } = purchase;
    const record = (body: object, headers: Sending['headers'] = []) => ({
      topic: purchaseTopic,
      key: userId,
      value: json(body),
      headers,
      // The home of its user: a record that has to be moved there leaves its headers behind, and they say what it owes.
      partition: partitionFor(Buffer.from(userId), topics.purchase.partitions),
    });
    const other = idOf(stage.run, number, 1);
    return {
      what: 'an id that comes again with another body',
      batches: [[record(purchase)], [record({ ...purchase, quantity: 2 }, [[owedHeader, other]])]],
      messages: [
        { id, owes: { affect: 0 } },
        { id: other, owes: { code: 'MUSTER_DUPLICATE_ID_OTHER_BODY' } },
      ],
    };
  };
  const bytes = (text: string) => Buffer.from(text);
  return [
    bad('a tombstone', 'MUSTER_EMPTY_VALUE', undefined),
    good('a record of 1 MB', {}, { note: 'n'.repeat(hugeBytes) }),
    good('broken headers', { headers: broken }),
    bad('a purchase of 1970', 'MUSTER_TIME_OUT_OF_RANGE', (purchase) =>
      json({ ...purchase, purchasedAt: '1970-01-01T00:00:00.000Z' }),
    ),
    twice,
    good('a timestamp of 1970', { timestamp: 0n }),
    bad('1 MB that is no JSON', 'MUSTER_JSON_INVALID', bytes('x'.repeat(hugeBytes))),
    good('a huge header', { headers: huge }),
    bad('no JSON, with a huge header', 'MUSTER_JSON_INVALID', bytes('{'), { headers: huge }),
    good('a timestamp of 2100', { timestamp: BigInt(Date.UTC(2100, 0, 1)) }),
    bad('a tombstone among acts', 'MUSTER_EMPTY_VALUE', undefined, { topic: actTopic }),
    bad('a purchase of 2100', 'MUSTER_TIME_OUT_OF_RANGE', (purchase) =>
      json({ ...purchase, purchasedAt: '2100-01-01T00:00:00.000Z' }),
    ),
    good('a thousand headers', { headers: many }),
    bad('bytes that are no text', 'MUSTER_NOT_UTF8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
    bad('a list', 'MUSTER_NOT_OBJECT', bytes('[]')),
    bad('nothing that is needed', 'MUSTER_FIELD_MISSING', bytes('{}')),
  ];
}
