/** Ids: UUIDs that sort by time, and UUIDs made from what they name. */
import { createHash, randomUUID } from 'node:crypto';

function asUuid(bytes: Buffer, version: number): string {
  bytes[6] = (bytes[6]! & 0x0f) | (version << 4);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return uuidOfBytes(bytes);
}

/** The text of the first 16 bytes. */
export function uuidOfBytes(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const hexOfUuid = (uuid: string) => uuid.replaceAll('-', '');
export const bytesOfUuid = (uuid: string) => Buffer.from(hexOfUuid(uuid), 'hex');
/** For a column that may be NULL. */
export const bytesOrNull = (uuid: string | undefined) => (uuid === undefined ? null : bytesOfUuid(uuid));

/**
 * UUID version 7 (RFC 9562): sorts by time, so that ids of one minute lie together. What is random in it are 74 bits of a
 * version 4, which the runtime makes from bytes that it draws ahead: drawing ten of its own costs as much as thousands.
 */
export function uuidV7(nowMs: number): string {
  const time = nowMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** Below every uuidV7() of that millisecond and later, above all earlier ones. */
export function uuidV7Floor(ms: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(ms, 0, 6);
  return uuidOfBytes(bytes);
}

/** UUID version 8 (RFC 9562) that always is the same for the same parts. */
export function uuidOf(...parts: readonly string[]): string {
  return asUuid(createHash('sha256').update(parts.join('\0')).digest(), 8);
}
