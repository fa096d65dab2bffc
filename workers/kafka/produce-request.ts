/** The produce request and its answer on the wire, which kafkajs would build from records. */
import { producerProfile } from '../../catalog/clients.ts';
import type { Partition } from './accumulator.ts';
import { apiKeys, type WireRequest } from './kafkajs-internals.ts';

/** All replicas that are in sync. */
const acksAll = -1;

export interface PartitionAnswer {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
}

/** Produce v7 with the first batch of each partition. */
export function produceRequest(partitions: readonly Partition[]): WireRequest<readonly PartitionAnswer[]> {
  const byTopic = new Map<string, Partition[]>();
  for (const partition of partitions) {
    const list = byTopic.get(partition.topic);
    if (list) list.push(partition);
    else byTopic.set(partition.topic, [partition]);
  }
  return {
    request: {
      apiKey: apiKeys.Produce,
      apiVersion: 7,
      apiName: 'Produce',
      async encode() {
        let size = 2 + 2 + 4 + 4;
        for (const [topic, list] of byTopic) {
          size += 2 + Buffer.byteLength(topic) + 4;
          for (const partition of list) size += 8 + partition.queue[0]!.sealed!.length;
        }
        const out = Buffer.allocUnsafe(size);
        // No transactional id.
        let at = out.writeInt16BE(-1, 0);
        at = out.writeInt16BE(acksAll, at);
        at = out.writeInt32BE(producerProfile.brokerTimeoutMs, at);
        at = out.writeInt32BE(byTopic.size, at);
        for (const [topic, list] of byTopic) {
          at = out.writeInt16BE(Buffer.byteLength(topic), at);
          at += out.write(topic, at);
          at = out.writeInt32BE(list.length, at);
          for (const partition of list) {
            const records = partition.queue[0]!.sealed!;
            at = out.writeInt32BE(partition.id, at);
            at = out.writeInt32BE(records.length, at);
            out.set(records, at);
            at += records.length;
          }
        }
        return { buf: out, buffer: out, size: () => size };
      },
    },
    response: {
      async decode(payload) {
        return decodeProduceResponse(payload);
      },
      async parse(decoded) {
        return decoded as readonly PartitionAnswer[];
      },
    },
  };
}

/** Produce response v7, the parts that matter. kafkajs hands the body over without size and correlation id. */
function decodeProduceResponse(payload: Buffer): readonly PartitionAnswer[] {
  const answers: PartitionAnswer[] = [];
  let at = 4;
  for (let topics = payload.readInt32BE(0); topics > 0; topics--) {
    const nameLength = payload.readInt16BE(at);
    const topic = payload.toString('utf8', at + 2, at + 2 + nameLength);
    at += 2 + nameLength;
    let partitions = payload.readInt32BE(at);
    at += 4;
    for (; partitions > 0; partitions--) {
      answers.push({ topic, partition: payload.readInt32BE(at), errorCode: payload.readInt16BE(at + 4) });
      at += 4 + 2 + 8 + 8 + 8;
    }
  }
  return answers;
}
