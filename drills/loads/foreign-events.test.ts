/** What the rounds say that they owe is what the workers' own readers say of their records. */
import test from 'ava';
import { topics } from '../../catalog/topics.ts';
import { parseRequest } from '../../workers/coupon/events.ts';
import type { IncomingRecord } from '../../workers/kafka/kafka.ts';
import { readOrderCompleted, readOrderExpiryDue, readProductEvent } from '../../workers/order/events.ts';
import { readOutsideEvent } from '../../workers/outside/events.ts';
import { owedHeader } from '../checker/foreign.ts';
import { foreignEventRounds, oddEventRounds } from './foreign-events.ts';
import type { Sending } from './foreign-rounds.ts';

const readers: Readonly<Record<string, (record: IncomingRecord) => unknown>> = {
  [topics.couponRequests.name]: parseRequest,
  [topics.couponIssue.name]: parseRequest,
  [topics.orderCompleted.name]: readOrderCompleted,
  [topics.productEvents.name]: readProductEvent,
  [topics.orderExpiry.name]: readOrderExpiryDue,
  [topics.externalEvents.name]: readOutsideEvent,
};

const arrived = ({ topic, key, value, headers = [] }: Sending): IncomingRecord => ({
  topic,
  partition: 0,
  offset: 0,
  timestampMs: 0,
  key: Buffer.from(key),
  value: value ?? null,
  headers: Object.fromEntries(headers.map(([name, text]) => [name, Buffer.from(text)])),
});
const codeOf = (record: IncomingRecord) => {
  try {
    readers[record.topic]!(record);
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

test('what owes a dead letter is refused for that code, and everything else is understood', (t) => {
  const seen = new Set<string>();
  for (const [number, make] of [...foreignEventRounds(), ...oddEventRounds()].entries()) {
    const { what, batches, messages } = make({ run: 'run', person: 'run-person' }, number);
    const owes = new Map(messages.map((message) => [message.id, message.owes]));
    for (const record of batches.flat().map(arrived)) {
      const owed = owes.get(String(record.headers[owedHeader]));
      const code = owed !== undefined && owed !== 'nothing' && 'code' in owed ? owed.code : undefined;
      const told = codeOf(record);
      seen.add(`${record.topic} ${told}`);
      // Which id it repeats is not to be seen in a record.
      t.is(told, code === 'MUSTER_DUPLICATE_ID_OTHER_BODY' ? undefined : code, `${what} on ${record.topic}`);
    }
    // The same topics are outputs: nobody's name may be on them.
    for (const { topic, key, value } of batches.flat())
      if (topic !== topics.couponRequests.name && topic !== topics.couponIssue.name)
        t.false(`${key} ${value}`.includes('run-person'), `${what} on ${topic}`);
  }
  for (const topic of Object.keys(readers))
    t.true([...seen].some((one) => one.startsWith(`${topic} MUSTER_`)));
});
