/**
 * Each store away as a whole, for less and for more than every deadline inside: of a request (3 s), of a statement and of a
 * send (10 s), of a lock and of a connection (60 s), of a producer (120 s). Whoever was told "accepted" before or meanwhile is
 * served afterwards; no process ends, and nothing that is in order becomes a dead letter.
 */
import type { Drill, DrillStep } from './drill.ts';
import type { Fault } from './faults.ts';

const faultAtMs = 8_000;
const awaySeconds = [5, 35, 150] as const;
/** From the store's return to the last client that is served again: brokers start, people ask again each second. */
const backWithinMs = 60_000;

const everyBroker = ['kafka-1', 'kafka-2', 'kafka-3'];

function outage(
  name: string,
  about: string,
  aliases: readonly string[],
  inject: Fault,
  seconds: number,
  alert?: string,
): Drill {
  const awayMs = seconds * 1_000;
  return {
    name: `${name}-${seconds}s`,
    about: `${about} for ${seconds} s: what was accepted is served afterwards, no process ends, no dead letter.`,
    loadMs: faultAtMs + awayMs + 20_000,
    promotion: { rate: 40 },
    coupons: { rate: 5, stock: 60 },
    orders: { rate: 5 },
    steps: aliases.map(
      (alias): DrillStep => ({ atMs: faultAtMs, inject, on: { alias }, healAfterMs: awayMs }),
    ),
    expect: {
      rtoMs: awayMs + backWithinMs,
      restarts: 0,
      deadLetters: 0,
      ...(alert === undefined || seconds < 120 ? {} : { alerts: [{ name: alert, withinMs: 90_000 }] }),
    },
  };
}

const kill: Fault = { kind: 'kill' };
const pause: Fault = { kind: 'pause' };

export const outages: readonly Drill[] = awaySeconds.flatMap((seconds) => [
  outage('kafka-gone', 'All brokers are gone', everyBroker, kill, seconds, 'AllBrokersGone'),
  outage(
    'two-brokers-gone',
    'Two of three brokers are gone',
    everyBroker.slice(0, 2),
    kill,
    seconds,
    'BrokersMissing',
  ),
  outage('mysql-gone', 'MySQL is gone', ['mysql'], kill, seconds, 'MysqlDown'),
  outage('mysql-frozen', 'MySQL is frozen', ['mysql'], pause, seconds, 'MysqlDown'),
  outage('redis-gone', 'Redis is gone', ['redis'], kill, seconds, 'RedisDown'),
  outage('redis-frozen', 'Redis is frozen', ['redis'], pause, seconds, 'RedisDown'),
]);
