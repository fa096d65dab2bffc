import test from 'ava';
import { endsOf } from './ends.ts';

/** A cluster of `topics`, each with the leader of each of its partitions; the end of a partition is its number and 100. */
function cluster(topics: Readonly<Record<string, readonly number[]>>) {
  const asked: string[] = [];
  const state = { silent: -1 };
  const wire = {
    async metadata(names: readonly string[]) {
      asked.push(`who leads ${names.join(' ')}`);
      return {
        topicMetadata: names.map((topic) => ({
          topic,
          topicErrorCode: topic in topics ? 0 : 3,
          partitionMetadata: (topics[topic] ?? []).map((leader, partitionId) => ({ partitionId, leader })),
        })),
      };
    },
    broker: async (id: number) => ({
      async listOffsets(request: {
        topics: readonly { topic: string; partitions: readonly { partition: number }[] }[];
      }) {
        const what = request.topics
          .map(({ topic, partitions }) => `${topic} ${partitions.length}`)
          .join(', ');
        asked.push(`${id}: ${what}`);
        if (id === state.silent)
          throw Object.assign(new Error('late'), { name: 'KafkaJSRequestTimeoutError' });
        return {
          responses: request.topics.map(({ topic, partitions }) => ({
            topic,
            partitions: partitions.map(({ partition }) => ({ partition, offset: String(100 + partition) })),
          })),
        };
      },
    }),
    async drop(id: number) {
      asked.push(`${id} dropped`);
    },
  };
  return { wire: wire as never, asked, state };
}

test('the ends of all topics are asked of each leader by one request', async (t) => {
  const { wire, asked } = cluster({ a: [1, 2, 3], b: [2, 3, 1], c: [3] });
  const ends = await endsOf(wire, ['a', 'b', 'c']);
  t.deepEqual(asked.sort(), ['1: a 1, b 1', '2: a 1, b 1', '3: a 1, b 1, c 1', 'who leads a b c']);
  const three = { 0: 100, 1: 101, 2: 102 };
  t.deepEqual(Object.fromEntries([...ends].map(([topic, found]) => [topic, Object.fromEntries(found)])), {
    a: three,
    b: three,
    c: { 0: 100 },
  });
});

test('of no topics nobody is asked', async (t) => {
  const { wire, asked } = cluster({});
  t.is((await endsOf(wire, [])).size, 0);
  t.deepEqual(asked, []);
});

test('what has no leader, or is not there, has no ends that could be told', async (t) => {
  const { wire } = cluster({ a: [1, -1] });
  await t.throwsAsync(endsOf(wire, ['a']), { message: 'a-1 has no leader' });
  const error = await t.throwsAsync(endsOf(wire, ['b']));
  t.is((error as { type?: string }).type, 'UNKNOWN_TOPIC_OR_PARTITION');
});

test('a leader that does not answer is asked over a new connection the next time', async (t) => {
  const { wire, asked, state } = cluster({ a: [1, 2] });
  state.silent = 2;
  await t.throwsAsync(endsOf(wire, ['a']), { message: 'late' });
  t.true(asked.includes('2 dropped'));
});
