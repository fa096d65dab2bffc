/** What is sent to the topics of coupons, orders and systems outside: odd envelopes, and what is no event at all. */
import { randomUUID } from 'node:crypto';
import { CompressionAlgorithms } from '@platformatic/kafka';
import { topics } from '../../catalog/topics.ts';
import { type ForeignMessage, owedHeader } from '../checker/foreign.ts';
import {
  broken,
  huge,
  hugeBytes,
  idOf,
  json,
  type MakeRound,
  many,
  type Round,
  type Sending,
} from './foreign-rounds.ts';
import type { LoadStage } from './load.ts';

const requestTopics = [topics.couponRequests.name, topics.couponIssue.name];

/** Each topic with the code of a record that its consumers do not understand; `outside` tells empty ones, no JSON and fields apart. */
const codes: Readonly<Record<string, string | { empty: string; json: string; fields: string }>> = {
  [topics.couponRequests.name]: 'MUSTER_COUPON_REQUEST_INVALID',
  [topics.couponIssue.name]: 'MUSTER_COUPON_REQUEST_INVALID',
  [topics.orderCompleted.name]: 'MUSTER_EVENT_INVALID',
  [topics.productEvents.name]: 'MUSTER_EVENT_INVALID',
  [topics.orderExpiry.name]: 'MUSTER_EVENT_INVALID',
  [topics.externalEvents.name]: {
    empty: 'MUSTER_EMPTY_VALUE',
    json: 'MUSTER_JSON_INVALID',
    fields: 'MUSTER_FIELD_INVALID',
  },
};

type Stage = Pick<LoadStage, 'run' | 'person'>;
type Extras = Pick<Sending, 'headers' | 'timestamp'>;
type Owed = Round['messages'][number];

/** A request for a coupon that there is not. */
function requestOf({ person }: Stage, number: number) {
  return { requestId: randomUUID(), userId: `${person}-foreign-${number}`, couponId: `none-${number}` };
}

/** As many requests on both topics, and payments for systems outside: each in order, in such an envelope. */
function events(stage: Stage, number: number, count: number, extras: Extras = {}) {
  const requests = requestTopics.flatMap((topic) =>
    Array.from({ length: count }, () => ({ topic, request: requestOf(stage, number) })),
  );
  const payments = Array.from({ length: count }, (_, index) => idOf(stage.run, number, index));
  const records: Sending[] = [
    ...requests.map(({ topic, request }) => ({
      topic,
      key: request.couponId,
      value: json(request),
      ...extras,
    })),
    ...payments.map((id) => ({
      topic: topics.externalEvents.name,
      key: id,
      value: json({
        paymentId: id,
        orderId: id,
        amount: { amountMinor: 1_000, currency: 'KRW' },
        timestamp: new Date().toISOString(),
      }),
      ...extras,
      // By it the receiver knows one that was sent twice: the last of one name counts.
      headers: [...(extras.headers ?? []), ['ce_id', id] as const],
    })),
  ];
  const owed = (owes: { requests: ForeignMessage['owes']; payments: ForeignMessage['owes'] }): Owed[] => [
    ...requests.map(({ request }) => ({ id: request.requestId, owes: owes.requests })),
    ...payments.map((id) => ({ id, owes: owes.payments })),
  ];
  return { records, owed };
}
const served = { requests: { reason: 'NOT_FOUND' }, payments: { effects: 1 } } as const;

export function foreignEventRounds(): readonly MakeRound[] {
  const codecs = Object.values(CompressionAlgorithms).map(
    (compression): MakeRound =>
      (stage, number) => {
        const { records, owed } = events(stage, number, 3);
        return {
          what: `events compressed with ${compression}`,
          compression,
          batches: [records],
          messages: owed(served),
        };
      },
  );
  const transactions = (['commit', 'abort'] as const).map(
    (transaction): MakeRound =>
      (stage, number) => {
        const { records, owed } = events(stage, number, 1);
        // Without an id of the event, which a transaction of this client does not carry: sent twice it would be two.
        const requests = records.filter(({ topic }) => topic !== topics.externalEvents.name);
        const messages = owed(
          transaction === 'commit' ? served : { requests: 'nothing', payments: 'nothing' },
        ).slice(0, requests.length);
        return {
          what: `requests in a transaction (${transaction})`,
          transaction,
          batches: [requests],
          messages,
        };
      },
  );
  return [...codecs, ...transactions];
}

export function oddEventRounds(): readonly MakeRound[] {
  const good =
    (what: string, extras: Extras): MakeRound =>
    (stage, number) => {
      const { records, owed } = events(stage, number, 1, extras);
      return { what, batches: records.map((record) => [record]), messages: owed(served) };
    };
  /** On each topic one that cannot be understood. */
  const bad =
    (
      what: string,
      why: 'empty' | 'json' | 'fields',
      value: Buffer | undefined,
      { headers = [], on = Object.keys(codes) }: Pick<Sending, 'headers'> & { on?: readonly string[] } = {},
    ): MakeRound =>
    (stage, number) => {
      const all = on.map((topic, index) => {
        const code = codes[topic]!;
        const id = idOf(stage.run, number, index);
        const record: Sending = {
          topic,
          key: id,
          headers: [[owedHeader, id] as const, ...headers],
          ...(value === undefined ? {} : { value }),
        };
        return { record, owed: { id, owes: { code: typeof code === 'string' ? code : code[why] } } };
      });
      return {
        what,
        batches: all.map(({ record }) => [record]),
        messages: all.map(({ owed }) => owed),
      };
    };
  const twice: MakeRound = (stage, number) => {
    const all = requestTopics.map((topic, index) => {
      const request = requestOf(stage, number);
      const other = idOf(stage.run, number, index);
      // One key: one partition, and this order.
      const record = (body: object, headers: Sending['headers'] = []): Sending => ({
        topic,
        key: request.couponId,
        value: json(body),
        headers,
      });
      return {
        batches: [
          [record(request)],
          [record({ ...request, couponId: `other-${number}` }, [[owedHeader, other]])],
        ],
        messages: [
          { id: request.requestId, owes: served.requests },
          { id: other, owes: { code: 'MUSTER_DUPLICATE_ID_OTHER_BODY' } },
        ],
      };
    });
    return {
      what: 'a request that comes again for another coupon',
      batches: all.flatMap(({ batches }) => batches),
      messages: all.flatMap(({ messages }) => messages),
    };
  };
  return [
    bad('a tombstone', 'empty', undefined),
    good('broken headers', { headers: broken }),
    bad('bytes that are no text', 'json', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
    twice,
    good('a timestamp of 1970', { timestamp: 0n }),
    bad('1 MB that is no JSON', 'json', Buffer.from('x'.repeat(hugeBytes)), {
      // Not on all: whoever judges keeps what was read.
      on: [topics.couponIssue.name, topics.externalEvents.name],
    }),
    good('a huge header', { headers: huge }),
    bad('a list', 'fields', Buffer.from('[]')),
    good('a timestamp of 2100', { timestamp: BigInt(Date.UTC(2100, 0, 1)) }),
    bad('no JSON, with a huge header', 'json', Buffer.from('{'), { headers: huge }),
    good('a thousand headers', { headers: many }),
    bad('nothing that is needed', 'fields', Buffer.from('{}')),
  ];
}
