/** Brings the settings of running brokers to what is wanted, round by round, and says what it does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MusterError } from '../base/errors.ts';
import type { BrokerAdmin } from '../kafka/broker-admin.ts';
import {
  describeSettings,
  isInEffect,
  namesToLookAt,
  planSettings,
  type SeenSettings,
  type SettingChange,
} from './plan.ts';

/** More than any number of threads takes that a broker may have. */
const mostRounds = 12;
const inEffectWithinMs = 30_000;

/**
 * Returns what was changed. Doing it again is safe. Rejects with MUSTER_LIVE_SETTINGS when Kafka refuses, or when a broker does
 * not work with a change within 30 s.
 */
export async function applySettings(
  admin: BrokerAdmin,
  wanted: ReadonlyMap<string, string>,
  print: (line: string) => void,
): Promise<readonly SettingChange[]> {
  const done: SettingChange[] = [];
  for (let round = 0; round < mostRounds; round++) {
    const plan = planSettings(wanted, await seenBy(admin, wanted));
    for (const line of describeSettings(round === 0 ? plan : { ...plan, kept: [] })) print(line);
    const { changes, notes } = plan;
    if (changes.length + notes.size === 0) {
      print(
        done.length === 0
          ? 'Live settings are as the catalog says; nothing to do.'
          : `Done: ${done.length} changes, while all brokers ran.`,
      );
      return done;
    }
    await admin.change(new Map([...changes.map(({ name, to }) => [name, to] as const), ...notes]));
    await settled(admin, wanted, changes);
    done.push(...changes);
  }
  throw new MusterError(
    'MUSTER_LIVE_SETTINGS',
    `not there after ${mostRounds} rounds: does somebody else change them?`,
  );
}

async function seenBy(admin: BrokerAdmin, wanted: ReadonlyMap<string, string>): Promise<SeenSettings> {
  const clusterWide = await admin.clusterWide();
  return { clusterWide, inEffect: await admin.inEffect(namesToLookAt(wanted, clusterWide)) };
}

/** Brokers learn of a change one after the other, and any of them may answer the next question. */
async function settled(
  admin: BrokerAdmin,
  wanted: ReadonlyMap<string, string>,
  changes: readonly SettingChange[],
): Promise<void> {
  const looked = new Map([...wanted, ...changes.map(({ name }) => [name, ''] as const)]);
  for (const giveUpAt = Date.now() + inEffectWithinMs; ; await sleep(100)) {
    const seen = await seenBy(admin, looked);
    const isTold = changes.every(({ name, to }) => seen.clusterWide.get(name) === to);
    if (isTold && isInEffect(changes, seen)) return;
    if (Date.now() > giveUpAt)
      throw new MusterError(
        'MUSTER_LIVE_SETTINGS',
        `a broker does not work with ${changes.map(({ name, to }) => `${name}=${to ?? '(default)'}`).join(', ')} after ${inEffectWithinMs / 1_000} s`,
      );
  }
}
