/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), as Kafka's record batches carry it.
 * Slicing-by-8: M. Kounavis, F. Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC Generation" (2008).
 */
const tables = buildTables();

function buildTables(): Int32Array {
  const table = new Int32Array(8 * 256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    table[n] = c;
  }
  for (let n = 0; n < 256; n++) {
    let c = table[n]!;
    for (let slice = 1; slice < 8; slice++) {
      c = table[c & 0xff]! ^ (c >>> 8);
      table[slice * 256 + n] = c;
    }
  }
  return table;
}

/** CRC-32C of bytes[from, to) as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length): number {
  const t = tables;
  let crc = -1;
  let i = from;
  for (const whole = to - ((to - from) % 8); i < whole; i += 8) {
    const low = crc ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
    crc =
      t[1792 + (low & 0xff)]! ^
      t[1536 + ((low >>> 8) & 0xff)]! ^
      t[1280 + ((low >>> 16) & 0xff)]! ^
      t[1024 + (low >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < to; i++) crc = t[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
