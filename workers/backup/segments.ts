/**
 * A file of a backup: segments, each encrypted and sealed (AES-256-GCM) with the name of its file and its place in it, so that
 * one that is missing, cut, altered, or comes from another place is named instead of being believed.
 *
 * The file begins with `magic` and the key's id. A segment is: place (8 bytes, of its content in the whole content), length (4),
 * 1 for the last one of the file, nonce (12), content, seal (16).
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { MusterError } from '../base/errors.ts';

const magic = Buffer.from('muster backup 1\n');
const keyIdBytes = 8;
const fileHead = magic.length + keyIdBytes;
const placeBytes = 8;
const segmentHead = placeBytes + 4 + 1 + 12;
const sealBytes = 16;
/** Most content of one segment: what a reader has in memory at once. */
export const segmentBytes = 1 << 20;

/** Tells keys apart without telling anything of them. */
const keyIdOf = (key: Buffer) =>
  createHash('sha256').update('muster backup key').update(key).digest().subarray(0, keyIdBytes);

const sealed = (name: string, place: number, last: boolean) => Buffer.from(`${name}\0${place}\0${last}`);

function segmentOf(key: Buffer, name: string, place: number, content: Buffer, last: boolean): Buffer {
  const head = Buffer.alloc(segmentHead);
  head.writeBigUInt64BE(BigInt(place), 0);
  head.writeUInt32BE(content.length, placeBytes);
  head.writeUInt8(last ? 1 : 0, placeBytes + 4);
  const nonce = randomBytes(12);
  nonce.copy(head, placeBytes + 5);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(sealed(name, place, last));
  return Buffer.concat([head, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}

/** What is wrong with a backup; `MUSTER_BACKUP_CUT` is raised for what a writer that died may leave, too. */
const damaged = (kind: 'CUT' | 'MISSING' | 'ALTERED' | 'KEY', message: string) =>
  new MusterError(`MUSTER_BACKUP_${kind}`, message);

async function readExactly(file: FileHandle, length: number, at: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, at);
  return buffer.subarray(0, bytesRead);
}

export interface Segment {
  /** Where its content begins in the whole content. */
  readonly place: number;
  readonly content: Buffer;
  readonly last: boolean;
  /** Where it ends in the file. */
  readonly endsAt: number;
}

/**
 * The segments of a file, in order. Throws MUSTER_BACKUP_KEY, MUSTER_BACKUP_CUT (it ends within a segment, or is no such file),
 * MUSTER_BACKUP_MISSING (segments between two others), MUSTER_BACKUP_ALTERED. A file may end without its last segment: somebody
 * may still write it.
 */
export async function* readSegments(path: string, name: string, key: Buffer): AsyncGenerator<Segment> {
  const file = await open(path, 'r');
  try {
    const head = await readExactly(file, fileHead, 0);
    if (head.length < fileHead || !head.subarray(0, magic.length).equals(magic))
      throw damaged('CUT', `${name} does not begin as a backup of ours`);
    if (!head.subarray(magic.length).equals(keyIdOf(key)))
      throw damaged('KEY', `${name} was made with another key than this environment's`);
    let at = fileHead;
    let place = 0;
    for (let last = false; !last; ) {
      const header = await readExactly(file, segmentHead, at);
      if (header.length === 0) return;
      const said = header.length < segmentHead ? undefined : Number(header.readBigUInt64BE(0));
      if (said !== undefined && said > place)
        throw damaged('MISSING', `${name}: bytes ${place} to ${said} are missing`);
      const length = said === undefined ? 0 : header.readUInt32BE(placeBytes);
      if (said !== undefined && (said < place || length > segmentBytes))
        throw damaged('ALTERED', `${name}: the segment of byte ${place} was altered`);
      const rest = await readExactly(file, length + sealBytes, at + segmentHead);
      if (said === undefined || rest.length < length + sealBytes)
        throw damaged('CUT', `${name} is cut within the segment of byte ${place}`);
      last = header.readUInt8(placeBytes + 4) === 1;
      const content = opened(key, name, place, last, header.subarray(placeBytes + 5), rest, length);
      at += segmentHead + length + sealBytes;
      yield { place, content, last, endsAt: at };
      place += length;
    }
    if ((await readExactly(file, 1, at)).length > 0)
      throw damaged('ALTERED', `${name}: something follows the end`);
  } finally {
    await file.close();
  }
}

function opened(
  key: Buffer,
  name: string,
  place: number,
  last: boolean,
  nonce: Buffer,
  rest: Buffer,
  length: number,
): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce)
    .setAAD(sealed(name, place, last))
    .setAuthTag(rest.subarray(length));
  try {
    return Buffer.concat([decipher.update(rest.subarray(0, length)), decipher.final()]);
  } catch {
    throw damaged('ALTERED', `${name}: the segment of byte ${place} was altered`);
  }
}

export interface SegmentWriter {
  /** Content written so far. */
  readonly place: number;
  /**
   * Appends it in segments; on disk when it resolves. Rejects when the disk does not take it; nothing of the segment that failed
   * is left, so that the same may be tried again from `place` on.
   */
  append(content: Buffer): Promise<void>;
  /** Says that this was all. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Goes on with a file, or begins it. A segment at its end that a writer which died left half is dropped, unless less than
 * `atLeast` of the content were left; any other damage is thrown as readSegments() does. Throws MUSTER_BACKUP_ENDED when its last
 * segment is there.
 */
export async function writeSegments(
  path: string,
  name: string,
  key: Buffer,
  atLeast = 0,
): Promise<SegmentWriter> {
  let end = fileHead;
  let place = 0;
  try {
    for await (const segment of readSegments(path, name, key)) {
      if (segment.last) throw new MusterError('MUSTER_BACKUP_ENDED', `${name} is complete`);
      end = segment.endsAt;
      place = segment.place + segment.content.length;
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'MUSTER_BACKUP_CUT') throw error;
  }
  if (place < atLeast)
    throw damaged('CUT', `${name} ends at byte ${place}; it was known to reach to ${atLeast}`);
  const file = await open(path, 'a+', 0o600);
  const { size } = await file.stat();
  if (size < fileHead) {
    await file.truncate(0);
    await file.appendFile(Buffer.concat([magic, keyIdOf(key)]));
  } else await file.truncate(end);
  const write = async (content: Buffer, last: boolean) => {
    const segment = segmentOf(key, name, place, content, last);
    try {
      await file.appendFile(segment);
      await file.datasync();
    } catch (error) {
      await file.truncate(end).catch(() => {});
      throw error;
    }
    end += segment.length;
    place += content.length;
  };
  return {
    get place() {
      return place;
    },
    async append(content) {
      for (let from = 0; from < content.length; from += segmentBytes)
        await write(content.subarray(from, from + segmentBytes), false);
    },
    end: () => write(Buffer.alloc(0), true),
    close: () => file.close(),
  };
}
