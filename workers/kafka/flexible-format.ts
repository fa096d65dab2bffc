/**
 * Kafka's "flexible" request format (KIP-482) for requests of our own: compact strings and arrays (length + 1 as a
 * varint) and tagged fields, of which none is sent and all are skipped.
 */
import type { WirePayload, WireRequest } from './kafkajs-internals.ts';

/** Writes a request. Grows as needed. */
export class FlexibleWriter {
  #bytes = Buffer.allocUnsafe(1_024);
  #at = 0;

  #room(more: number): number {
    if (this.#at + more > this.#bytes.length) {
      const bigger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + more));
      this.#bytes.copy(bigger, 0, 0, this.#at);
      this.#bytes = bigger;
    }
    const at = this.#at;
    this.#at += more;
    return at;
  }

  int8(value: number): this {
    const at = this.#room(1);
    this.#bytes.writeInt8(value, at);
    return this;
  }

  bool(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  int32(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  int64(value: number): this {
    const at = this.#room(8);
    this.#bytes.writeBigInt64BE(BigInt(value), at);
    return this;
  }

  #uvarint(value: number): this {
    let rest = value;
    while (rest >= 0x80) {
      const at = this.#room(1);
      this.#bytes[at] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    const at = this.#room(1);
    this.#bytes[at] = rest;
    return this;
  }

  string(value: string): this {
    const length = Buffer.byteLength(value);
    this.#uvarint(length + 1);
    const at = this.#room(length);
    this.#bytes.write(value, at);
    return this;
  }

  /** null is another thing than empty: most often it means "all". */
  array<T>(values: Iterable<T> | null, write: (value: T) => void): this {
    if (values === null) return this.#uvarint(0);
    const list = [...values];
    this.#uvarint(list.length + 1);
    for (const value of list) write(value);
    return this;
  }

  /** The end of a structure: no tagged fields. */
  end(): this {
    return this.#uvarint(0);
  }

  payload(): WirePayload {
    const bytes = this.#bytes.subarray(0, this.#at);
    return { buf: bytes, buffer: bytes, size: () => bytes.length };
  }
}

/** Reads an answer, field after field. */
export class FlexibleReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #move(by: number): number {
    const at = this.#at;
    this.#at += by;
    return at;
  }

  int8(): number {
    return this.#bytes.readInt8(this.#move(1));
  }

  bool(): boolean {
    return this.int8() !== 0;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#move(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#move(4));
  }

  /** Offsets and times stay far below 2^53. */
  int64(): number {
    const at = this.#move(8);
    return this.#bytes.readInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4);
  }

  uuid(): string {
    const at = this.#move(16);
    return this.#bytes.toString('hex', at, at + 16);
  }

  uvarint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** null reads as empty. */
  string(): string {
    const length = Math.max(0, this.uvarint() - 1);
    const at = this.#move(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  skipString(): void {
    this.#move(Math.max(0, this.uvarint() - 1));
  }

  bytes(): Buffer {
    const length = Math.max(0, this.uvarint() - 1);
    const at = this.#move(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** How many elements follow; null reads as none. */
  length(): number {
    return Math.max(0, this.uvarint() - 1);
  }

  int32s(): number[] {
    return Array.from({ length: this.length() }, () => this.int32());
  }

  /** The end of a structure. */
  end(): void {
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint();
      this.#move(this.uvarint());
    }
  }
}

/** A request in the flexible format, with its answer decoded by `read`. */
export function flexibleRequest<T>(
  api: { readonly key: number; readonly version: number; readonly name: string },
  write: (body: FlexibleWriter) => void,
  read: (body: FlexibleReader) => T,
): WireRequest<T> {
  return {
    request: {
      apiKey: api.key,
      apiVersion: api.version,
      apiName: api.name,
      async encode() {
        // The header that kafkajs writes lacks its tagged fields.
        const body = new FlexibleWriter().end();
        write(body);
        return body.end().payload();
      },
    },
    response: {
      async decode(payload) {
        const body = new FlexibleReader(payload);
        body.end();
        return read(body);
      },
      async parse(decoded) {
        return decoded as T;
      },
    },
  };
}
