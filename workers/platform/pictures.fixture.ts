/** Pictures for tests, some of them hostile, and a reader of JPEG that shares nothing with what makes them. */
import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';

/** Noise, so that it takes room. */
export const noise = (width: number, height: number, channels: 3 | 4 = 3): Sharp =>
  sharp({
    create: {
      width,
      height,
      channels,
      background: '#808080',
      noise: { type: 'gaussian', mean: 128, sigma: 30 },
    },
  });

const chunk = (type: string, data: Uint8Array) => {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(8 + body.length);
  framed.writeUInt32BE(data.length);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), 4 + body.length);
  return framed;
};

/** A black PNG, with chunks before its pixels. */
export function png(
  width: number,
  height: number,
  before: readonly (readonly [type: string, data: Uint8Array])[] = [],
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...before.map(([type, data]) => chunk(type, data)),
    chunk('IDAT', deflateSync(Buffer.alloc((width + 1) * height))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** 8 MB of nothing as a text of 8 KB, of which libpng would inflate each. */
export const inflatingText = (): readonly [string, Uint8Array] => [
  'zTXt',
  Buffer.concat([Buffer.from('k\0\0', 'latin1'), deflateSync(Buffer.alloc(7_900_000))]),
];

/** Puts a segment behind the beginning of a JPEG. */
export function withSegment(jpeg: Buffer, marker: number, data: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(data.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)]);
}

export interface JpegRead {
  /** Markers in order, those within the scan left out. */
  readonly markers: readonly string[];
  readonly width: number;
  readonly height: number;
  /** Bytes after its end. */
  readonly behind: number;
}

/** Reads a JPEG of one scan by the standard (ITU T.81). Throws when it is none. */
export function readJpeg(bytes: Buffer): JpegRead {
  const markers: string[] = [];
  let [width, height] = [0, 0];
  if (bytes.readUInt16BE(0) !== 0xffd8) throw new Error('does not begin as a JPEG');
  for (let at = 2; ; ) {
    if (bytes[at] !== 0xff) throw new Error(`no marker at ${at}`);
    const marker = bytes[at + 1]!;
    markers.push(marker.toString(16));
    if (marker === 0xd9) return { markers, width, height, behind: bytes.length - at - 2 };
    const length = bytes.readUInt16BE(at + 2);
    if (marker >= 0xc0 && marker <= 0xc2)
      [height, width] = [bytes.readUInt16BE(at + 5), bytes.readUInt16BE(at + 7)];
    at += 2 + length;
    if (marker !== 0xda) continue;
    // Of a scan: up to a marker that is neither a stuffed zero nor a restart.
    while (!(bytes[at] === 0xff && bytes[at + 1] !== 0 && (bytes[at + 1]! & 0xf8) !== 0xd0)) {
      at++;
      if (at >= bytes.length) throw new Error('has no end');
    }
  }
}
