/**
 * Partition assigners. kafkajs' own round robin neither keeps topics together nor keeps partitions where they were:
 * a join needs partition i of both its inputs in one place, and every move costs the rebuilding of state.
 */
import kafkajs from 'kafkajs';
import type { Cluster } from './kafkajs-internals.ts';

const { AssignerProtocol } = kafkajs;

/** What a member says of itself when it joins: what it had last. */
export interface Member {
  readonly id: string;
  /** Slots held before; claims of two members on one slot go to the later generation's, then to the first in order. */
  readonly held: readonly number[];
  readonly generation: number;
}

/**
 * Gives each of `slots` slots to exactly one member: balanced to within one, moving as few as possible.
 * A slot is a partition index; whoever has slot i has partition i of every topic that has one.
 * Deterministic: depends on nothing but its arguments, not on their order.
 */
export function assignSlots(members: readonly Member[], slots: number): ReadonlyMap<string, number[]> {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const result = new Map<string, number[]>(sorted.map((member) => [member.id, []]));
  if (sorted.length === 0) return result;
  const floor = Math.floor(slots / sorted.length);
  let extras = slots % sorted.length;
  const free = new Set<number>(Array.from({ length: slots }, (_, slot) => slot));
  const byRecency = [...sorted].sort((a, b) => b.generation - a.generation);

  // Up to the fair share everybody keeps what they had; who had more keeps one of the odd ones.
  for (const member of byRecency) {
    const list = result.get(member.id)!;
    for (const slot of [...new Set(member.held)].sort((a, b) => a - b)) {
      if (list.length < floor && free.delete(slot)) list.push(slot);
    }
  }
  for (const member of byRecency) {
    if (extras === 0) break;
    const list = result.get(member.id)!;
    if (list.length !== floor) continue;
    const extra = [...new Set(member.held)].sort((a, b) => a - b).find((slot) => free.has(slot));
    if (extra === undefined) continue;
    free.delete(extra);
    list.push(extra);
    extras--;
  }
  const left = [...free].sort((a, b) => a - b);
  for (const member of sorted) {
    const list = result.get(member.id)!;
    while (list.length < floor && left.length > 0) list.push(left.shift()!);
  }
  for (const member of sorted) {
    if (left.length === 0) break;
    const list = result.get(member.id)!;
    if (list.length === floor) list.push(left.shift()!);
  }
  for (const list of result.values()) list.sort((a, b) => a - b);
  return result;
}

/** What a member had last; lives beside one consumer. */
export interface Holdings {
  slots: readonly number[];
  generation: number;
}

interface AssignerOptions {
  readonly name: string;
  /** Called with kafkajs' cluster, which is not reachable otherwise. */
  onCluster?(cluster: Cluster): void;
  readonly holdings: Holdings;
}

interface GroupMember {
  readonly memberId: string;
  readonly memberMetadata: Buffer;
}

/**
 * The assigner in kafkajs' shape. Slots are partition indices, so topics are always co-partitioned; topics with more
 * partitions than others just have more slots. The name is part of the group protocol: members with another assigner
 * cannot join.
 */
export function slotAssigner(options: AssignerOptions) {
  return ({ cluster }: { cluster: unknown }) => {
    const known = cluster as Cluster;
    options.onCluster?.(known);
    return {
      name: options.name,
      version: 1,
      async assign({ members, topics }: { members: readonly GroupMember[]; topics: readonly string[] }) {
        const partitionsOf = new Map(
          topics.map((topic) => [topic, known.findTopicPartitionMetadata(topic).map((p) => p.partitionId)]),
        );
        const slots = Math.max(0, ...[...partitionsOf.values()].flat().map((partition) => partition + 1));
        const assigned = assignSlots(members.map(readMember), slots);
        return [...assigned].map(([memberId, list]) => {
          const mine = new Set(list);
          const assignment: Record<string, number[]> = {};
          for (const [topic, partitions] of partitionsOf) {
            const taken = partitions.filter((partition) => mine.has(partition)).sort((a, b) => a - b);
            if (taken.length > 0) assignment[topic] = taken;
          }
          return {
            memberId,
            memberAssignment: AssignerProtocol.MemberAssignment.encode({
              version: 1,
              assignment,
              userData: Buffer.alloc(0),
            }),
          };
        });
      },
      protocol({ topics }: { topics: string[] }) {
        return {
          name: options.name,
          metadata: AssignerProtocol.MemberMetadata.encode({
            version: 1,
            topics,
            userData: Buffer.from(JSON.stringify(options.holdings)),
          }),
        };
      },
    };
  };
}

function readMember({ memberId, memberMetadata }: GroupMember): Member {
  try {
    const decoded = AssignerProtocol.MemberMetadata.decode(memberMetadata);
    const held = JSON.parse(String(decoded?.userData ?? '')) as Holdings;
    const slots = held.slots.filter((slot) => Number.isSafeInteger(slot));
    return { id: memberId, held: slots, generation: Number(held.generation) || 0 };
  } catch {
    return { id: memberId, held: [], generation: 0 };
  }
}
