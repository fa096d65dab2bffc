/** Accounts follow members: what worker `money-members` does with member-events. */
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { isNotNow } from '../base/errors.ts';
import { counter, gauge } from '../base/metrics.ts';
import { consume } from '../kafka/consume.ts';
import { startRepeated } from '../platform/repeated.ts';
import type { Started, WorkerDeps } from '../platform/worker.ts';
import { messageOf } from '../store/queue-log.ts';
import { closeLeftAccounts, followMember } from './accounts.ts';
import { readMemberEvent } from './events.ts';

/** How often accounts of who has left are looked at: they close when they are empty. */
const lookEveryMs = 20_000;

/** Follows members until stopped; while the database is away its partitions are held. */
export async function startFollowing(
  group: ConsumerGroup,
  {
    database,
    kafka,
    log,
    metrics: registry,
    fail,
  }: Pick<WorkerDeps, 'database' | 'kafka' | 'log' | 'metrics' | 'fail'>,
): Promise<Started> {
  const events = counter(registry, metrics.money.memberEvents);
  const left = gauge(registry, metrics.money.leftAccounts);
  const consumer = await consume(kafka, {
    group,
    log,
    parse: readMemberEvent,
    // A transaction each.
    atOnce: 100,
    async apply(records) {
      const db = await database();
      for (const { data, record } of records)
        events.inc({ outcome: await followMember(db, data, messageOf(record)) });
      return undefined;
    },
    onFatal: fail,
  });
  const look = async () => {
    try {
      left.set(await closeLeftAccounts(await database()));
    } catch (error) {
      // Of a database that is away others tell.
      log[isNotNow(error) ? 'debug' : 'warn']('accounts of members who have left could not be looked at', {
        error,
      });
    }
  };
  const closing = startRepeated(lookEveryMs, look);
  return {
    ready: consumer.ready,
    waitingFor: () => 'its partitions',
    async stop() {
      await Promise.all([consumer.stop(), closing.stop()]);
    },
  };
}
