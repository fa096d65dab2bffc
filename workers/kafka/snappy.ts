/**
 * Snappy as Kafka's Java client frames it (the xerial stream format): a 16-byte header, then blocks of
 * [big-endian length, raw snappy].
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

/**
 * Decompresses a xerial stream, or raw snappy as librdkafka sends it. Throws on damaged input, and on input that says it is
 * more than `limit` bytes.
 */
export function decompressXerial(bytes: Buffer, limit: number): Buffer {
  if (bytes.length < header.length || !bytes.subarray(0, magic.length).equals(magic)) {
    return decompressBlock(bytes, limit);
  }
  const blocks: Buffer[] = [];
  let size = 0;
  for (let at = header.length; at < bytes.length; ) {
    const length = bytes.readInt32BE(at);
    if (length <= 0) throw new RangeError('a snappy block has no length');
    at += 4;
    const block = decompressBlock(bytes.subarray(at, at + length), limit - size);
    blocks.push(block);
    size += block.length;
    at += length;
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
}

function decompressBlock(block: Buffer, limit: number): Buffer {
  if (unfoldedBytes(block) > limit) throw new RangeError('the block unfolds to too much');
  return snappy.uncompressSync(block, { asBuffer: true }) as Buffer;
}

/** What a raw snappy block says of itself in front. */
function unfoldedBytes(block: Buffer): number {
  let size = 0;
  for (let at = 0, scale = 1; at < block.length && at < 5; at++, scale *= 0x80) {
    size += (block[at]! & 0x7f) * scale;
    if (block[at]! < 0x80) break;
  }
  return size;
}
