/**
 * Snappy as Kafka's Java client frames it (the xerial stream format): a 16-byte header, then blocks of
 * [big-endian length, raw snappy]. kafkajs only has gzip built in; this is registered as its snappy codec.
 */
import snappy from 'snappy';

const magic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const header = Buffer.concat([magic, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])]);

/** Compresses into one xerial block. Synchronous: a block of some 100 KB takes less time than a hop to another thread. */
export function compressXerial(bytes: Buffer): Buffer {
  const block = snappy.compressSync(bytes);
  const out = Buffer.allocUnsafe(header.length + 4 + block.length);
  header.copy(out, 0);
  out.writeInt32BE(block.length, header.length);
  block.copy(out, header.length + 4);
  return out;
}

/** Decompresses a xerial stream, or raw snappy as some producers send it. Throws on damaged input. */
export function decompressXerial(bytes: Buffer): Buffer {
  if (bytes.length < header.length || !bytes.subarray(0, magic.length).equals(magic)) {
    return snappy.uncompressSync(bytes, { asBuffer: true }) as Buffer;
  }
  const blocks: Buffer[] = [];
  for (let at = header.length; at < bytes.length; ) {
    const length = bytes.readInt32BE(at);
    at += 4;
    blocks.push(snappy.uncompressSync(bytes.subarray(at, at + length), { asBuffer: true }) as Buffer);
    at += length;
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
}

/** The codec in the shape kafkajs registers. */
export const snappyCodec = {
  async compress(encoder: { readonly buffer: Buffer }): Promise<Buffer> {
    return compressXerial(encoder.buffer);
  },
  async decompress(bytes: Buffer): Promise<Buffer> {
    return decompressXerial(bytes);
  },
};
