/** A client of GET /coupons/events as a browser's EventSource is one: it comes back by itself and says what it saw last. */
import { type ClientRequest, get } from 'node:http';

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

/** Calls `onOutcome` for each outcome of the user's requests, until closed; begins after `lastEventId` when it is given. */
export function openOutcomeStream(
  apiUrl: string,
  token: string,
  userId: string,
  onOutcome: (outcome: SeenOutcome) => void,
  lastEventId?: string,
): OutcomeStream {
  let closed = false;
  let request: ClientRequest | undefined;
  let timer: NodeJS.Timeout | undefined;
  let lastId = lastEventId;
  let begun = () => {};
  const ready = new Promise<void>((resolve) => {
    begun = resolve;
  });

  function handle(block: string): void {
    const fields = new Map(
      block.split('\n').map((line) => {
        const colon = line.indexOf(': ');
        return [line.slice(0, colon), line.slice(colon + 2)] as const;
      }),
    );
    if (fields.get('event') === 'ready') begun();
    if (fields.get('event') !== 'coupon-outcome') return;
    lastId = fields.get('id') ?? lastId;
    onOutcome(JSON.parse(fields.get('data') ?? '{}') as SeenOutcome);
  }

  function again(): void {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(connect, reconnectMs);
  }

  function connect(): void {
    request = get(
      `${apiUrl}/coupons/events?userId=${encodeURIComponent(userId)}`,
      {
        agent: false,
        headers: {
          authorization: `Bearer ${token}`,
          accept: 'text/event-stream',
          ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
        },
      },
      (response) => {
        if (response.statusCode !== 200) {
          response.resume();
          again();
          return;
        }
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          const blocks = (text + chunk).split('\n\n');
          text = blocks.pop()!;
          for (const block of blocks) handle(block);
        });
        response.on('close', again);
      },
    );
    request.on('error', again);
  }
  connect();
  return {
    ready,
    close() {
      closed = true;
      clearTimeout(timer);
      request?.destroy();
    },
  };
}
