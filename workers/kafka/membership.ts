/**
 * What a process was a member of when it crashed. The coordinator of a group keeps a dead member until its session has
 * expired (10 s), and gives its partitions to nobody before; kafkajs has no static membership. So each membership is
 * noted in a directory of this process alone, and the next life of the process ends what the last one left behind.
 * A directory that two processes share would let them throw each other out.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { Wire } from './wire.ts';

export interface Memberships {
  /** Ends the membership that a former life of this process left behind in the group, if any. Never rejects. */
  endFormer(groupId: string): Promise<void>;
  joined(groupId: string, memberId: string): void;
  left(groupId: string): void;
}

const deadlineMs = 3_000;
const groupCoordinator = 0;

/** Memberships noted in `directory`; without one nothing is noted, and the dead are waited for. */
export function openMemberships(directory: string | undefined, wire: Wire, log: Logger): Memberships {
  if (directory === undefined) return { endFormer: async () => {}, joined: () => {}, left: () => {} };
  mkdirSync(directory, { recursive: true });
  const fileOf = (groupId: string) => join(directory, `${encodeURIComponent(groupId)}.member`);

  async function leave(groupId: string, memberId: string): Promise<void> {
    const any = await wire.anyBroker();
    const { coordinator } = await any.findGroupCoordinator({ groupId, coordinatorType: groupCoordinator });
    await wire.learn({ brokers: [coordinator] });
    await (await wire.broker(coordinator.nodeId)).leaveGroup({ groupId, memberId });
  }

  return {
    async endFormer(groupId) {
      const memberId = noted(fileOf(groupId));
      if (memberId === undefined) return;
      try {
        const outcome = await Promise.race([
          leave(groupId, memberId).then(() => 'left'),
          sleep(deadlineMs, 'late', { ref: false }),
        ]);
        log.info('ended the membership of a former life', { group: groupId, outcome });
      } catch (error) {
        // Its session will expire.
        log.info('a former life is not a member any more, or cannot be ended', { group: groupId, error });
      }
      rmSync(fileOf(groupId), { force: true });
    },
    joined: (groupId, memberId) => writeFileSync(fileOf(groupId), memberId),
    left: (groupId) => rmSync(fileOf(groupId), { force: true }),
  };
}

function noted(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8') || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
