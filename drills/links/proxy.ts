/** A TCP proxy that makes a link bad: slow, or losing answers after the request has arrived. */
import { connect, createServer, type Socket } from 'node:net';
import { MusterError } from '../../workers/base/errors.ts';

export interface LinkFault {
  /** Added to each round trip, ms: half of it on the way there, half on the way back, anew for each piece. */
  readonly delayMs?: { readonly least: number; readonly most: number };
  /** 0 to 1, of answers: the server has done what it was asked, its answer is thrown away and the connection cut. */
  readonly loseAnswers?: number;
}

/** What a proxy understands of a connection that it carries. */
export interface Dialogue {
  /** What the client says; it goes on as it is. */
  asked(piece: Buffer): void;
  /** What the server says, in parts that go on whole or not at all. */
  answered(piece: Buffer): readonly Part[];
}

export interface Part {
  readonly bytes: Buffer;
  /** Somebody waits for it: may be lost. */
  readonly isAnswer: boolean;
}

/** For protocols in which the server speaks when it was asked (HTTP): what it says first after that is the answer. */
export function plainDialogue(): Dialogue {
  let isAsked = false;
  return {
    asked() {
      isAsked = true;
    },
    answered(bytes) {
      const isAnswer = isAsked;
      isAsked = false;
      return [{ bytes, isAnswer }];
    },
  };
}

export interface ProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
  /** Called for each connection. What it throws cuts that one. */
  dialogue(): Dialogue;
  /** 0 to 1, decides which answers are lost and how late the pieces are. */
  random(): number;
}

export interface LinkProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Holds for what is said from now on, on open connections too. Nothing: a good link. */
  set(fault: LinkFault): void;
  /** Answers that were lost so far. */
  lost(): number;
  /** Cuts what is open. */
  close(): Promise<void>;
}

/** Throws MUSTER_LINK_PROXY when it cannot listen. */
export async function startProxy({ target, dialogue, random }: ProxyOptions): Promise<LinkProxy> {
  let fault: LinkFault = {};
  let lost = 0;
  const cuts = new Set<() => void>();

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const talk = dialogue();
    const cut = () => {
      cuts.delete(cut);
      there.stop();
      back.stop();
      client.destroy();
      upstream.destroy();
    };
    const delayMs = () => {
      if (fault.delayMs === undefined) return 0;
      const { least, most } = fault.delayMs;
      return (least + random() * (most - least)) / 2;
    };
    const there = inOrder(delayMs);
    const back = inOrder(delayMs);
    cuts.add(cut);

    const carry = (from: Socket, to: Socket, way: typeof there, take: (piece: Buffer) => void) => {
      from.on('data', (piece) => {
        try {
          take(piece);
        } catch {
          cut();
        }
      });
      from.on('end', () => way.push(() => to.end()));
      from.on('error', cut);
    };
    carry(client, upstream, there, (piece) => {
      talk.asked(piece);
      there.push(() => upstream.write(piece));
    });
    carry(upstream, client, back, (piece) => {
      const { loseAnswers: share = 0 } = fault;
      for (const { bytes, isAnswer } of talk.answered(piece)) {
        if (isAnswer && share > 0 && random() < share) {
          lost += 1;
          // In its turn: answers before it are not its fault.
          back.push(cut);
        } else back.push(() => client.write(bytes));
      }
    });
    client.on('close', cut);
    upstream.on('close', () => {
      // A server that has said its last word may be gone before that has arrived at the client.
      if (!upstream.readableEnded) cut();
    });
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', (cause) =>
    listening.reject(new MusterError('MUSTER_LINK_PROXY', 'A proxy cannot listen on this host.', { cause })),
  );
  server.listen(0, '127.0.0.1', () => listening.resolve());
  await listening.promise;
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    set(next) {
      fault = next;
    },
    lost: () => lost,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const cut of [...cuts]) cut();
      await closed;
    },
  };
}

/** Does what is pushed one after the other, each not before its delay is over: no piece overtakes another. */
function inOrder(delayMs: () => number) {
  const queue: { readonly dueMs: number; readonly work: () => void }[] = [];
  let timer: NodeJS.Timeout | undefined;
  const run = () => {
    timer = undefined;
    while (queue.length > 0 && queue[0]!.dueMs <= performance.now()) queue.shift()!.work();
    if (queue.length > 0) timer = setTimeout(run, Math.ceil(queue[0]!.dueMs - performance.now()));
  };
  return {
    push(work: () => void) {
      queue.push({ dueMs: performance.now() + delayMs(), work });
      if (timer === undefined) run();
    },
    stop() {
      clearTimeout(timer);
      queue.length = 0;
    },
  };
}
