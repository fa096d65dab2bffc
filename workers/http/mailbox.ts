/**
 * Messages to users until they are acknowledged: delivered means acknowledged, or still listed.
 *
 * Whoever has a connection is pushed what comes; what was not acknowledged by any client of the user is sent again at every
 * new connection, where it is known by its id. A client acknowledges by message (a WebSocket), by a call of its own, or by
 * coming back with the id of the event that it saw last: that stands for everything which was sent on the same stream
 * before it, as far as this process knows. What a process has forgotten is sent once more, and never taken for seen.
 */
import { type Connection, type Message, type Reader, streamName } from './realtime.ts';

export interface Letter extends Message {
  /** The same whenever the message is sent. */
  readonly id: string;
}

export interface Visit {
  /** Whose messages they are; not a user id in clear: a name of the topic they come from. */
  readonly address: string;
  /** What the client saw last: an event id of a stream, or the id of a message. */
  readonly lastEventId: string | undefined;
  /**
   * What is to be told first, oldest first: everything that is not acknowledged, and with `after` (the id of a message) what
   * came after that, as another client of the user may have acknowledged it.
   */
  unread(after: string | undefined): Promise<readonly Letter[]>;
  /** Notes durably that the user has these; ids that are not of the user's messages change nothing. */
  acknowledge(ids: readonly string[]): Promise<void>;
}

export interface Mailboxes {
  /** A client's visit, for a route of streams. */
  open(visit: Visit): Reader;
  has(address: string): boolean;
  /** Pushes to all clients of the address; returns how many it was sent to. */
  push(address: string, letter: Letter): number;
}

/** Ids remembered per stream: what comes twice is shown once, and an event id stands for those before it. */
const remembered = 1_000;
/** Streams remembered, the newest ones: those that ended, too. */
const rememberedStreams = 10_000;

interface Member {
  readonly connection: Connection;
  readonly stream: string;
  /** In the order in which they were sent. */
  readonly told: Set<string>;
  waiting: Letter[] | undefined;
}

export function createMailboxes(): Mailboxes {
  const members = new Map<string, Set<Member>>();
  const streams = new Map<string, { readonly address: string; readonly told: ReadonlySet<string> }>();

  /** Whether it was sent, now or before. */
  function tell({ connection, stream, told }: Member, letter: Letter): boolean {
    if (told.has(letter.id)) return true;
    if (!connection.send({ ...letter, id: `${letter.id}.${stream}` })) return false;
    told.add(letter.id);
    if (told.size > remembered) told.delete(told.values().next().value!);
    return true;
  }

  /** The messages of which a client that saw this one last has seen every one, oldest first. */
  function seenBy(address: string, lastEventId: string): readonly string[] {
    const [id, stream] = lastEventId.split('.') as [string, string?];
    const before = stream === undefined ? undefined : streams.get(stream);
    const told = before?.address === address ? [...before.told] : [];
    return told.includes(id) ? told.slice(0, told.indexOf(id) + 1) : [id];
  }

  function enter(address: string, connection: Connection): Member {
    const member: Member = { connection, stream: streamName(), told: new Set(), waiting: [] };
    const mine = members.get(address) ?? new Set();
    members.set(address, mine.add(member));
    streams.set(member.stream, { address, told: member.told });
    if (streams.size > rememberedStreams) streams.delete(streams.keys().next().value!);
    return member;
  }

  return {
    open({ address, lastEventId, unread, acknowledge }) {
      let member: Member | undefined;
      let gone = false;
      return {
        async begin(connection) {
          // What is pushed from now on waits: what the client missed comes first.
          member = enter(address, connection);
          const seen = lastEventId === undefined ? [] : seenBy(address, lastEventId);
          if (seen.length > 0) await acknowledge(seen);
          const missed = await unread(seen.at(-1));
          if (gone) return;
          connection.send({ type: 'ready', data: {} });
          for (const id of seen) member.told.add(id);
          for (const letter of [...missed, ...member.waiting!]) tell(member, letter);
          member.waiting = undefined;
        },
        // Only what it was sent can be acknowledged by a connection.
        async acknowledge(ids) {
          const sent = ids.map(messageOf).filter((id) => member?.told.has(id) === true);
          if (sent.length > 0) await acknowledge(sent);
          return sent;
        },
        left() {
          gone = true;
          const mine = members.get(address);
          if (member === undefined || mine?.delete(member) !== true) return;
          if (mine.size === 0) members.delete(address);
        },
      };
    },
    has: (address) => members.has(address),
    push(address, letter) {
      let count = 0;
      for (const member of members.get(address) ?? []) {
        if (member.waiting !== undefined) member.waiting.push(letter);
        else if (tell(member, letter)) count += 1;
      }
      return count;
    },
  };
}

/** The message's id of an event's id: clients may say either. */
export const messageOf = (eventId: string): string => eventId.split('.')[0]!;
