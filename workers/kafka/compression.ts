/**
 * The codecs of the protocol, by their number in a batch's attributes. All are synchronous: a batch of some 100 KB takes
 * less time than a hop to another thread. Each takes the most bytes that it may unfold to: a few KB can be gigabytes, and
 * a process that has asked for them does not live to refuse them.
 */
import { unzipSync, zstdDecompressSync } from 'node:zlib';
import { decompressFrameSync } from 'lz4-napi';
import { decompressXerial } from './snappy.ts';

export interface Codec {
  readonly name: string;
  /** Throws when the bytes are damaged, or would become more than `limit`. */
  decompress(bytes: Buffer, limit: number): Buffer;
}

export const codecs: ReadonlyMap<number, Codec> = new Map<number, Codec>([
  [1, { name: 'gzip', decompress: (bytes, limit) => unzipSync(bytes, { maxOutputLength: limit }) }],
  [2, { name: 'snappy', decompress: decompressXerial }],
  [3, { name: 'lz4', decompress: decompressLz4 }],
  [4, { name: 'zstd', decompress: (bytes, limit) => zstdDecompressSync(bytes, { maxOutputLength: limit }) }],
]);

/** Kafka uses the LZ4 frame format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md */
function decompressLz4(bytes: Buffer, limit: number): Buffer {
  if (lz4Bound(bytes) > limit) throw new RangeError('the frame unfolds to too much');
  return decompressFrameSync(bytes);
}

const lz4MostPerByte = 255;

/** The most that a frame can unfold to, by the sizes of its blocks. */
function lz4Bound(bytes: Buffer): number {
  const flags = bytes[4]!;
  const hasBlockChecksums = (flags & 0x10) !== 0;
  const hasContentSize = (flags & 0x08) !== 0;
  const hasDictionaryId = (flags & 0x01) !== 0;
  const mostPerBlock = 1 << (8 + 2 * ((bytes[5]! >> 4) & 7));
  let bound = 0;
  let at = 7 + (hasContentSize ? 8 : 0) + (hasDictionaryId ? 4 : 0);
  while (at + 4 <= bytes.length) {
    const size = bytes.readUInt32LE(at) & 0x7fffffff;
    if (size === 0) break;
    bound += Math.min(mostPerBlock, size * lz4MostPerByte);
    at += 4 + size + (hasBlockChecksums ? 4 : 0);
  }
  return bound;
}
