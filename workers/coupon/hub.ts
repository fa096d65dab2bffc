/** The clients that this replica holds, by user, and what each of them has been told. */
import type { CouponReason } from '../../catalog/events/coupon.ts';

/** What a client is told of a request. */
export interface CouponOutcome {
  readonly requestId: string;
  readonly couponId: string;
  readonly outcome: 'SUCCESS' | 'FAILED';
  readonly reason?: CouponReason;
  readonly couponHistoryId?: string;
  /** The trace that began with the request; absent when it was not traced. */
  readonly traceId?: string;
}

/** One connection. */
export interface Client {
  /** False: it is gone, or too slow to keep. */
  send(outcome: CouponOutcome): boolean;
  close(): void;
}

export interface Membership {
  /** Passes on what the client missed, then what came meanwhile; from now on it is live. Returns the ids it has now. */
  begin(missed: readonly CouponOutcome[]): readonly string[];
  leave(): void;
}

export interface Hub {
  readonly size: number;
  /** Adds a client; what comes before `begin()` waits. `user` is a pseudonym. */
  join(user: string, client: Client): Membership;
  has(user: string): boolean;
  /** Pushes to the clients of the user that have not seen it; returns how many have seen it now. */
  push(user: string, outcome: CouponOutcome): number;
  closeAll(): void;
}

/** Outcomes remembered per client, so that a result that Kafka delivers twice is shown once. */
const remembered = 1_000;

interface Member {
  readonly client: Client;
  readonly seen: Set<string>;
  waiting: CouponOutcome[] | undefined;
}

export function createHub(): Hub {
  const users = new Map<string, Set<Member>>();
  let size = 0;

  /** Whether the client has it now. */
  function tell(member: Member, outcome: CouponOutcome): boolean {
    const { seen, client } = member;
    if (seen.has(outcome.requestId)) return true;
    if (!client.send(outcome)) return false;
    seen.add(outcome.requestId);
    if (seen.size > remembered) seen.delete(seen.values().next().value!);
    return true;
  }

  return {
    get size() {
      return size;
    },
    join(user, client) {
      const member: Member = { client, seen: new Set(), waiting: [] };
      let members = users.get(user);
      if (members === undefined) {
        members = new Set();
        users.set(user, members);
      }
      members.add(member);
      size += 1;
      return {
        begin(missed) {
          const outcomes = [...missed, ...(member.waiting ?? [])];
          member.waiting = undefined;
          const told = outcomes.filter((outcome) => tell(member, outcome));
          return [...new Set(told.map(({ requestId }) => requestId))];
        },
        leave() {
          const mine = users.get(user);
          if (mine?.delete(member) !== true) return;
          size -= 1;
          if (mine.size === 0) users.delete(user);
        },
      };
    },
    has: (user) => users.has(user),
    push(user, outcome) {
      let told = 0;
      for (const member of users.get(user) ?? []) {
        if (member.waiting !== undefined) member.waiting.push(outcome);
        else if (tell(member, outcome)) told += 1;
      }
      return told;
    },
    closeAll() {
      for (const members of users.values()) for (const { client } of members) client.close();
    },
  };
}
