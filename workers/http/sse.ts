/** Server-sent events to one client, with heartbeats and a bound on what a slow client may hold in our memory. */
import type { ServerResponse } from 'node:http';

export interface EventStream {
  /** Writes an event; false when the client was too slow and the stream ends. */
  send(event: string, data: unknown, id?: string): boolean;
  /** Ends the stream; what was written still goes out. */
  end(): void;
  /** Called once when the client is gone or the stream has ended. */
  onClose(callback: () => void): void;
}

/**
 * @param options.heartbeatMs a comment goes out as often, so that proxies and clients see a living connection
 * @param options.maxBufferedBytes with more than this unsent the client gets an event `dropped` and the stream ends
 */
export function openEventStream(
  response: ServerResponse,
  options: { readonly heartbeatMs: number; readonly maxBufferedBytes: number },
): EventStream {
  response.statusCode = 200;
  response.setHeader('content-type', 'text/event-stream; charset=utf-8');
  response.setHeader('cache-control', 'no-store');
  // nginx would hold events back.
  response.setHeader('x-accel-buffering', 'no');
  response.flushHeaders();
  response.write('retry: 2000\n\n');
  let ended = false;
  const heartbeat = setInterval(() => response.write(': still here\n\n'), options.heartbeatMs);
  response.once('close', () => {
    ended = true;
    clearInterval(heartbeat);
  });

  const write = (event: string, data: unknown, id?: string) =>
    response.write(
      `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
    );
  function end(): void {
    if (ended) return;
    ended = true;
    clearInterval(heartbeat);
    response.end();
    // A client that does not read would keep the buffer alive.
    const timer = setTimeout(() => response.destroy(), 5_000);
    timer.unref();
    response.once('close', () => clearTimeout(timer));
  }

  return {
    send(event, data, id) {
      if (ended) return false;
      if (response.writableLength > options.maxBufferedBytes) {
        write('dropped', {
          code: 'MUSTER_CLIENT_TOO_SLOW',
          message: 'events came faster than they were read; reconnect, with a narrower filter if you can',
        });
        end();
        return false;
      }
      write(event, data, id);
      return true;
    },
    end,
    onClose: (callback) => void response.once('close', callback),
  };
}
