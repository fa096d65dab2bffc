/** Reads the bodies of a monitor's answers. Fields that nobody asks for are passed over in their order. */
import type { FlexibleReader } from './flexible-format.ts';
import type { ClusterTopic, GroupDescription, TopicPartition } from './kafka.ts';
import { errorFromCode } from './kafkajs-internals.ts';

export function readTopology(body: FlexibleReader) {
  body.int32();
  const brokers = Array.from({ length: body.length() }, () => {
    const broker = { nodeId: body.int32(), host: body.string(), port: body.int32() };
    body.skipString();
    body.end();
    return broker;
  });
  body.skipString();
  const controller = body.int32();
  const topics: ClusterTopic[] = [];
  for (let i = body.length(); i > 0; i--) {
    const error = body.int16();
    const name = body.string();
    const id = body.uuid();
    body.bool();
    const partitions = Array.from({ length: body.length() }, () => {
      body.int16();
      const partition = body.int32();
      const leader = body.int32();
      body.int32();
      const replicas = body.int32s();
      const inSync = body.int32s();
      body.int32s();
      body.end();
      return { partition, leader, replicas, inSync };
    });
    body.int32();
    body.end();
    // A topic may be refused to us, or be on its way out. One of its partitions may have no leader: that is no error.
    if (error === 0 || partitions.length > 0) topics.push({ name, id, partitions });
  }
  return { brokers, controller: controller < 0 ? undefined : controller, topics };
}

/** Where the value in effect comes from, as far as anybody here asks. */
const sources = { 2: 'broker', 3: 'cluster', 4: 'file', 5: 'default' } as const;

export interface DescribedSetting {
  /** Empty, too, for what Kafka keeps to itself: passwords, and names that it does not know. */
  readonly value: string;
  /** `broker`: set for this one alone; `cluster`: for all at once; both while it runs. */
  readonly source: (typeof sources)[keyof typeof sources] | 'other';
  /** What its file or the default says, when synonyms were asked for. */
  readonly fallback: string | undefined;
}

export interface DescribedResource {
  readonly error: number;
  readonly message: string;
  readonly name: string;
  readonly settings: ReadonlyMap<string, DescribedSetting>;
}

const sourceOf = (code: number) => sources[code as keyof typeof sources] ?? 'other';

export function readResources(body: FlexibleReader): readonly DescribedResource[] {
  body.int32();
  return Array.from({ length: body.length() }, () => {
    const error = body.int16();
    const message = body.string();
    body.int8();
    const name = body.string();
    const settings = new Map<string, DescribedSetting>();
    for (let j = body.length(); j > 0; j--) {
      const setting = body.string();
      const value = body.string();
      body.bool();
      const source = sourceOf(body.int8());
      body.bool();
      let fallback: string | undefined;
      for (let k = body.length(); k > 0; k--) {
        body.skipString();
        const other = body.string();
        const from = sourceOf(body.int8());
        body.end();
        if (from === 'file' || from === 'default') fallback ??= other;
      }
      body.int8();
      body.skipString();
      body.end();
      settings.set(setting, { value, source, fallback });
    }
    body.end();
    return { error, message, name, settings };
  });
}

export function readSettings(body: FlexibleReader): Map<string, Record<string, string>> {
  return new Map(
    readResources(body)
      .filter(({ error }) => error === 0)
      .map(({ name, settings }) => [
        name,
        Object.fromEntries([...settings].map(([setting, { value }]) => [setting, value])),
      ]),
  );
}

export function readDescriptions(body: FlexibleReader): GroupDescription[] {
  body.int32();
  const groups: GroupDescription[] = [];
  for (let i = body.length(); i > 0; i--) {
    const error = body.int16();
    const id = body.string();
    body.skipString();
    const protocolType = body.string();
    body.skipString();
    const assigned = new Map<string, number[]>();
    const members = body.length();
    for (let j = members; j > 0; j--) {
      body.skipString();
      body.skipString();
      body.skipString();
      body.skipString();
      body.bytes();
      const assignment = body.bytes();
      body.end();
      if (protocolType === 'consumer') addAssignment(assignment, assigned);
    }
    body.int32();
    body.end();
    if (error === 0) groups.push({ id, members, assigned });
  }
  return groups;
}

/** The consumer protocol's assignment, which has its own, older format. What does not read as one is left out. */
function addAssignment(bytes: Buffer, into: Map<string, number[]>): void {
  try {
    let at = 2;
    if (bytes.length < 6) return;
    const topics = bytes.readInt32BE(at);
    at += 4;
    for (let i = 0; i < topics; i++) {
      const length = bytes.readInt16BE(at);
      const topic = bytes.toString('utf8', at + 2, at + 2 + length);
      at += 2 + length;
      const count = bytes.readInt32BE(at);
      at += 4;
      const list = into.get(topic) ?? [];
      for (let j = 0; j < count; j++, at += 4) list.push(bytes.readInt32BE(at));
      into.set(topic, list);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

export function readCommitted(
  body: FlexibleReader,
  take: (group: string, topic: string, partition: number, offset: number) => void,
): Set<string> {
  const complete = new Set<string>();
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const group = body.string();
    let whole = true;
    for (let j = body.length(); j > 0; j--) {
      const topic = body.string();
      for (let k = body.length(); k > 0; k--) {
        const partition = body.int32();
        const offset = body.int64();
        body.int32();
        body.skipString();
        const error = body.int16();
        body.end();
        if (error !== 0) whole = false;
        else if (offset >= 0) take(group, topic, partition, offset);
      }
      body.end();
    }
    const error = body.int16();
    body.end();
    if (whole && error === 0) complete.add(group);
  }
  return complete;
}

export function readOffsets(body: FlexibleReader): (TopicPartition & { offset: number })[] {
  const offsets: (TopicPartition & { offset: number })[] = [];
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const topic = body.string();
    for (let j = body.length(); j > 0; j--) {
      const partition = body.int32();
      const error = body.int16();
      body.int64();
      const offset = body.int64();
      body.int32();
      body.end();
      if (error === 0 && offset >= 0) offsets.push({ topic, partition, offset });
    }
    body.end();
  }
  return offsets;
}

export function readFetched(body: FlexibleReader): (TopicPartition & { readonly records: Buffer })[] {
  const fetched: (TopicPartition & { records: Buffer })[] = [];
  body.int32();
  const error = body.int16();
  if (error !== 0) throw errorFromCode(error);
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const topic = body.string();
    for (let j = body.length(); j > 0; j--) {
      const partition = body.int32();
      const partitionError = body.int16();
      body.int64();
      body.int64();
      body.int64();
      for (let k = body.length(); k > 0; k--) {
        body.int64();
        body.int64();
        body.end();
      }
      body.int32();
      const records = body.bytes();
      body.end();
      if (partitionError === 0 && records.length > 0) fetched.push({ topic, partition, records });
    }
    body.end();
  }
  return fetched;
}
