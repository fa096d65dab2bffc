/**
 * What a proxy has to understand of Kafka: where a request and an answer begin and end, which answer belongs to which
 * request, and the addresses that brokers tell their clients. Those are replaced, so that a client which follows them
 * comes back to a proxy.
 */
import { MusterError } from '../../workers/base/errors.ts';
import type { Dialogue, Part } from './proxy.ts';

const metadata = 3;
/** Later versions are written in another format; kafkajs speaks 6 at most. */
const newestMetadata = 8;
/** Requests that change something: their lost answers make a client do it again. */
const writes: ReadonlySet<number> = new Set([
  0, // Produce
  8, // OffsetCommit
]);

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * One connection. `placeOf` gives the address to tell a client instead of a broker's own. The answers that may be lost
 * are those of Produce and OffsetCommit. Throws MUSTER_LINK_PROTOCOL for metadata of a version it does not know: a client
 * that was told the brokers' own addresses would go past the proxy.
 */
export function kafkaDialogue(placeOf: (broker: Address) => Address): Dialogue {
  const requests = frames();
  const answers = frames();
  const asked = new Map<number, { readonly api: number; readonly version: number }>();
  return {
    asked(piece) {
      // Header: api key, version, correlation id.
      for (const frame of requests(piece))
        asked.set(frame.readInt32BE(8), { api: frame.readInt16BE(4), version: frame.readInt16BE(6) });
    },
    answered(piece) {
      return answers(piece).map((frame): Part => {
        const id = frame.readInt32BE(4);
        const request = asked.get(id);
        asked.delete(id);
        if (request === undefined) return { bytes: frame, isAnswer: false };
        return {
          bytes: request.api === metadata ? withPlaces(frame, request.version, placeOf) : frame,
          isAnswer: writes.has(request.api),
        };
      });
    },
  };
}

/** Whole frames, with their size in front, of a stream that comes in pieces. */
function frames(): (piece: Buffer) => readonly Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  return (piece) => {
    rest = Buffer.concat([rest, piece]);
    const whole: Buffer[] = [];
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const length = 4 + rest.readInt32BE(0);
      whole.push(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
    return whole;
  };
}

/** A metadata answer, versions 0 to 8, with other addresses of the brokers. */
function withPlaces(frame: Buffer, version: number, placeOf: (broker: Address) => Address): Buffer {
  if (version > newestMetadata)
    throw new MusterError('MUSTER_LINK_PROTOCOL', `The proxy does not know metadata of version ${version}.`);
  // Size, correlation id, and since version 3 for how long the client is throttled.
  const listAt = version >= 3 ? 12 : 8;
  const parts: Buffer[] = [frame.subarray(4, listAt + 4)];
  let at = listAt + 4;
  for (let brokers = frame.readInt32BE(listAt); brokers > 0; brokers -= 1) {
    const nodeId = frame.subarray(at, at + 4);
    const hostEnd = at + 6 + frame.readInt16BE(at + 4);
    const host = frame.toString('utf8', at + 6, hostEnd);
    const place = placeOf({ host, port: frame.readInt32BE(hostEnd) });
    // Since version 1 the rack follows; -1: none.
    const rackLength = version >= 1 ? 2 + Math.max(0, frame.readInt16BE(hostEnd + 4)) : 0;
    const end = hostEnd + 4 + rackLength;
    parts.push(nodeId, text(place.host), int32(place.port), frame.subarray(hostEnd + 4, end));
    at = end;
  }
  parts.push(frame.subarray(at));
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
