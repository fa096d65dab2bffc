/** A client of the WebSocket of coupons that comes back by itself and acknowledges what it was told. */
import WebSocket from 'ws';
import { messageOf } from '../http/mailbox.ts';

/** What the stream says of a request. */
export interface SeenOutcome {
  readonly requestId: string;
  readonly couponId: string;
  readonly outcome: 'SUCCESS' | 'FAILED';
  readonly reason?: string;
  readonly couponHistoryId?: string;
  readonly traceId?: string;
}

export interface OutcomeStream {
  /** Resolves when the stream has begun for the first time. */
  readonly ready: Promise<void>;
  close(): void;
}

const reconnectMs = 500;
/** An acknowledgement that could not be noted is not answered: the client says it again. */
const askAgainMs = 1_000;

/** Calls `onOutcome` for each outcome of the user's requests, until closed; the same one may come again. */
export function openOutcomeStream(
  apiUrl: string,
  token: string,
  userId: string,
  onOutcome: (outcome: SeenOutcome) => void,
): OutcomeStream {
  let closed = false;
  let socket: WebSocket | undefined;
  let timer: NodeJS.Timeout | undefined;
  /** Told, and not known to be noted. */
  let unnoted = new Set<string>();
  let begun = () => {};
  const ready = new Promise<void>((resolve) => {
    begun = resolve;
  });

  function heard(text: string): void {
    const { type, id, data } = JSON.parse(text) as {
      type: string;
      id: string;
      data: SeenOutcome & { ids: readonly string[] };
    };
    if (type === 'ready') {
      // What is not noted comes again with every connection.
      unnoted = new Set();
      begun();
    }
    if (type === 'acked') for (const noted of data.ids) unnoted.delete(noted);
    if (type !== 'coupon-outcome') return;
    onOutcome(data);
    unnoted.add(messageOf(id));
    acknowledge([id]);
  }

  function acknowledge(ids: readonly string[]): void {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'ack', ids }));
  }
  const asking = setInterval(() => {
    if (unnoted.size > 0) acknowledge([...unnoted]);
  }, askAgainMs);

  function connect(): void {
    socket = new WebSocket(
      `${apiUrl.replace('http', 'ws')}/coupons/ws?userId=${encodeURIComponent(userId)}`,
      {
        headers: { authorization: `Bearer ${token}` },
      },
    );
    socket.on('message', (text) => heard(String(text)));
    // Without a listener it would be thrown; `close` follows.
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!closed) timer = setTimeout(connect, reconnectMs);
    });
  }
  connect();
  return {
    ready,
    close() {
      closed = true;
      clearTimeout(timer);
      clearInterval(asking);
      socket?.close();
    },
  };
}
