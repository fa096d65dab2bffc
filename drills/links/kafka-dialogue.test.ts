import test from 'ava';
import { type Address, kafkaDialogue } from './kafka-dialogue.ts';
import type { Part } from './proxy.ts';

const api = { produce: 0, fetch: 1, metadata: 3, offsetCommit: 8 };

const int16 = (value: number) => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};
const int32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const text = (value: string) => Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)]);
const none = int16(-1);
const frame = (...parts: Buffer[]) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length), body]);
};
const request = (key: number, version: number, id: number) =>
  frame(int16(key), int16(version), int32(id), text('client'), Buffer.from('body'));
const answer = (id: number, ...body: Buffer[]) => frame(int32(id), ...body);

const brokers: readonly (Address & { nodeId: number; rack: string | undefined })[] = [
  { nodeId: 1, host: '127.0.0.1', port: 29_091, rack: 'rack-1' },
  { nodeId: 2, host: 'kafka-2.example', port: 29_092, rack: undefined },
];
const rest = Buffer.from('the topics, which are left as they are');

/** What a broker says of its cluster, in a version. */
function metadata(version: number, list: typeof brokers): Buffer {
  return Buffer.concat([
    ...(version >= 3 ? [int32(77)] : []),
    int32(list.length),
    ...list.flatMap(({ nodeId, host, port, rack }) => [
      int32(nodeId),
      text(host),
      int32(port),
      ...(version < 1 ? [] : [rack === undefined ? none : text(rack)]),
    ]),
    rest,
  ]);
}

const moved = (broker: Address) => ({ host: '127.0.0.1', port: broker.port - 20_000 });
const joined = (parts: readonly Part[]) => Buffer.concat(parts.map(({ bytes }) => bytes));

for (const version of [0, 1, 3, 6, 8])
  test(`metadata ${version}: clients are told the proxies’ addresses, and nothing else changes`, (t) => {
    const dialogue = kafkaDialogue(moved);
    dialogue.asked(request(api.metadata, version, 5));
    const parts = dialogue.answered(answer(5, metadata(version, brokers)));
    const wanted = brokers.map((broker) => ({ ...broker, ...moved(broker) }));
    t.deepEqual(joined(parts), answer(5, metadata(version, wanted)));
    t.deepEqual(
      parts.map(({ isAnswer }) => isAnswer),
      [false],
    );
  });

test('metadata of a version that is written in another way is refused: its client would go past the proxy', (t) => {
  const dialogue = kafkaDialogue(moved);
  dialogue.asked(request(api.metadata, 9, 5));
  t.throws(() => dialogue.answered(answer(5, metadata(8, brokers))), { code: 'MUSTER_LINK_PROTOCOL' });
});

test('answers to what was written may be lost, others not, in whatever order they come', (t) => {
  const dialogue = kafkaDialogue(moved);
  dialogue.asked(
    Buffer.concat([
      request(api.fetch, 11, 1),
      request(api.produce, 7, 2),
      request(api.offsetCommit, 5, 3),
      request(api.metadata, 6, 4),
    ]),
  );
  const order = [3, 1, 4, 2, 99];
  const parts = dialogue.answered(
    Buffer.concat(order.map((id) => answer(id, id === 4 ? metadata(6, []) : Buffer.from('x')))),
  );
  t.deepEqual(
    parts.map(({ isAnswer }) => isAnswer),
    [true, false, false, true, false],
  );
});

test('frames that come byte by byte go on whole', (t) => {
  const dialogue = kafkaDialogue(moved);
  for (const byte of Buffer.concat([request(api.produce, 7, 1), request(api.metadata, 6, 2)]))
    dialogue.asked(Buffer.from([byte]));
  const whole = Buffer.concat([answer(1, Buffer.from('acked')), answer(2, metadata(6, brokers))]);
  const parts = [...whole].flatMap((byte) => dialogue.answered(Buffer.from([byte])));
  t.deepEqual(
    parts.map(({ isAnswer }) => isAnswer),
    [true, false],
  );
  t.deepEqual(parts[0]!.bytes, answer(1, Buffer.from('acked')));
  t.deepEqual(
    parts[1]!.bytes,
    answer(
      2,
      metadata(
        6,
        brokers.map((broker) => ({ ...broker, ...moved(broker) })),
      ),
    ),
  );
});
