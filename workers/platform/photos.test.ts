import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { isNotNow, MusterError } from '../base/errors.ts';
import { onSmallDisk } from '../store/small-disk.fixture.ts';
import { renewPhoto } from './photos.ts';
import { inflatingText, noise, png, readJpeg, withSegment } from './pictures.fixture.ts';

const folder = await mkdtemp(join(tmpdir(), 'photos-'));
test.after.always(() => rm(folder, { recursive: true }));

let files = 0;
async function renew(bytes: Uint8Array): Promise<Buffer> {
  const path = join(folder, `${++files}`);
  await writeFile(path, bytes);
  try {
    return await renewPhoto(path);
  } finally {
    await rm(path);
  }
}

/** Tables, one picture and its end: no metadata, no comment, no profile, no second picture. */
function isClean(t: ExecutionContext, jpeg: Buffer, what?: string): void {
  const { markers, behind, width, height } = readJpeg(jpeg);
  t.deepEqual(
    [...new Set(markers)].filter((marker) => !['db', 'c0', 'c4', 'da', 'd9'].includes(marker)),
    [],
    what,
  );
  t.is(behind, 0, what);
  t.true(Math.max(width, height) <= 1_280, what);
}

async function refuses(
  t: ExecutionContext,
  bytes: Uint8Array,
  code: `MUSTER_${string}`,
  what: string,
): Promise<void> {
  const error = await t.throwsAsync(renew(bytes), { instanceOf: MusterError }, what);
  t.is(error?.code, code, what);
  t.false(isNotNow(error), what);
}

test('a JPEG, a PNG and a WebP become a JPEG with nothing but pixels, of at most 1280 a side', async (t) => {
  const picture = noise(2_000, 1_000);
  for (const bytes of [
    await picture.clone().jpeg().toBuffer(),
    await picture.clone().jpeg({ progressive: true }).toBuffer(),
    await picture.clone().png().toBuffer(),
    await picture.clone().webp().toBuffer(),
  ]) {
    const renewed = await renew(bytes);
    isClean(t, renewed);
    const { width, height } = readJpeg(renewed);
    t.deepEqual([width, height], [1_280, 640]);
  }
  const { width, height } = readJpeg(await renew(await noise(30, 20).jpeg().toBuffer()));
  t.deepEqual([width, height], [30, 20], 'a small one is not made larger');
});

test('where and by what a photo was taken does not survive, and it stands upright', async (t) => {
  const taken = await noise(60, 40)
    .jpeg()
    .withExif({
      IFD0: { Copyright: 'SECRET-HOME', Model: 'SECRET-PHONE' },
      IFD3: { GPSLatitude: '37/1 33/1 0/1' },
    })
    .withMetadata({ orientation: 6 })
    .toBuffer();
  const commented = withSegment(taken, 0xfe, Buffer.from('SECRET-COMMENT'));
  t.true(commented.includes('SECRET-PHONE') && commented.includes('SECRET-COMMENT'));
  const renewed = await renew(commented);
  isClean(t, renewed);
  t.false(renewed.includes('SECRET'));
  const { width, height } = readJpeg(renewed);
  t.deepEqual([width, height], [40, 60]);
});

test('of a JPEG that is also a PHAR, a script or a page only the picture is left', async (t) => {
  const jpeg = await noise(50, 50).jpeg().toBuffer();
  const phar = Buffer.from(
    "<?php system($_GET['c']); __HALT_COMPILER(); ?>\r\nPK\x03\x04 PAYLOAD GBMB",
    'latin1',
  );
  const page = Buffer.from('*/=1;alert(1);/*<script>alert(1)</script><svg onload=alert(1)> PAYLOAD');
  for (const bytes of [
    Buffer.concat([jpeg, phar]),
    withSegment(jpeg, 0xfe, phar),
    withSegment(jpeg, 0xe1, page),
    withSegment(jpeg, 0xee, page),
    Buffer.concat([jpeg, jpeg, page]),
  ]) {
    const renewed = await renew(bytes);
    isClean(t, renewed);
    for (const word of ['HALT', 'PAYLOAD', 'script', '<?php', 'svg']) t.false(renewed.includes(word), word);
  }
  const text = png(20, 20, [['tEXt', Buffer.from('Comment\0<?php PAYLOAD')]]);
  t.false((await renew(text)).includes('PAYLOAD'));
});

test('what is no JPEG, PNG or WebP is no photo, whatever else could read it', async (t) => {
  const jpeg = await noise(50, 50).jpeg().toBuffer();
  const no: Record<string, Uint8Array> = {
    nothing: Buffer.alloc(0),
    text: Buffer.from('hello'),
    GIF: await noise(20, 20).gif().toBuffer(),
    'GIF and script': Buffer.from('GIF89a/*\x01\x00*/=1;alert(1)//;', 'latin1'),
    SVG: Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
    ),
    'SVG with a declaration': Buffer.from(
      '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>&x;</text></svg>',
    ),
    TIFF: await noise(20, 20).tiff().toBuffer(),
    AVIF: await noise(20, 20).avif().toBuffer(),
    PDF: Buffer.from('%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>'),
    archive: Buffer.from('PK\x03\x04rest', 'latin1'),
    'half a JPEG': jpeg.subarray(0, jpeg.length / 2),
    'half a PNG': (await noise(50, 50).png().toBuffer()).subarray(0, 3_000),
    'half a WebP': (await noise(50, 50).webp().toBuffer()).subarray(0, 300),
  };
  for (const [what, bytes] of Object.entries(no)) await refuses(t, bytes, 'MUSTER_PHOTO_UNREADABLE', what);
});

test('a photo does not move: neither an animated WebP nor a PNG with more pictures', async (t) => {
  const frames = await Promise.all([1, 2, 3].map(() => noise(20, 20).png().toBuffer()));
  const { default: sharp } = await import('sharp');
  const webp = await sharp(await Promise.all(frames.map((frame) => writeFrame(frame))), {
    join: { animated: true },
  })
    .webp()
    .toBuffer();
  await refuses(t, webp, 'MUSTER_PHOTO_ANIMATED', 'WebP');
  const control = Buffer.alloc(8);
  control.writeUInt32BE(2);
  await refuses(t, png(20, 20, [['acTL', control]]), 'MUSTER_PHOTO_ANIMATED', 'PNG');
});

async function writeFrame(frame: Buffer): Promise<string> {
  const path = join(folder, `frame-${++files}.png`);
  await writeFile(path, frame);
  return path;
}

test('100 million pixels are refused by the header alone, nothing is decoded', async (t) => {
  const large = png(10_000, 10_000);
  await refuses(t, large, 'MUSTER_PHOTO_TOO_LARGE', '100 megapixels');
  // Without its pixels it is told apart from a broken one, so they were not looked at.
  await refuses(t, large.subarray(0, 60), 'MUSTER_PHOTO_TOO_LARGE', 'only its header');
});

test('what is decoded whole may have fewer pixels', async (t) => {
  const progressive = await noise(100, 100)
    .jpeg({ progressive: true, chromaSubsampling: '4:4:4' })
    .toBuffer();
  const size = (width: number, height: number) => {
    const bytes = Buffer.from(progressive);
    const at = bytes.indexOf(Buffer.from([0xff, 0xc2]));
    bytes.writeUInt16BE(height, at + 5);
    bytes.writeUInt16BE(width, at + 7);
    return bytes;
  };
  await refuses(t, size(6_000, 4_000), 'MUSTER_PHOTO_TOO_LARGE', '144 MB of coefficients');
  // Its pixels are not there either, but it is looked at.
  isClean(t, await renew(size(3_000, 2_000)));
});

test('texts of a PNG that would be inflated to gigabytes are not', async (t) => {
  const text = inflatingText();
  await refuses(
    t,
    png(
      20,
      20,
      Array.from({ length: 5 }, () => text),
    ),
    'MUSTER_PHOTO_UNREADABLE',
    'many texts',
  );
  isClean(t, await renew(png(20, 20, [text])));
});

test('whatever comes is refused for good or becomes a clean JPEG', async (t) => {
  const good = [
    await noise(90, 60).jpeg().toBuffer(),
    await noise(90, 60).jpeg({ progressive: true }).toBuffer(),
    await noise(90, 60, 4).png().toBuffer(),
    await noise(90, 60, 4).webp({ lossless: true }).toBuffer(),
  ];
  const payload = Buffer.from('<script>PAYLOAD</script>');
  const cuts = fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      what: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => ({ over: bytes })),
        fc.constant({ insert: payload }),
        fc.constant({ cut: true }),
      ),
    }),
    { maxLength: 4 },
  );
  let renewed = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...good), cuts, fc.boolean(), async (from, changes, tail) => {
      let bytes: Buffer = Buffer.from(from);
      for (const { at, what } of changes) {
        const place = Math.floor(at * bytes.length);
        if ('over' in what) bytes.set(what.over.subarray(0, bytes.length - place), place);
        else if ('insert' in what)
          bytes = Buffer.concat([bytes.subarray(0, place), what.insert, bytes.subarray(place)]);
        else bytes = bytes.subarray(0, place);
      }
      if (tail) bytes = Buffer.concat([bytes, payload]);
      try {
        const jpeg = await renew(bytes);
        isClean(t, jpeg);
        t.false(jpeg.includes('PAYLOAD'));
        renewed++;
      } catch (error) {
        t.regex(String((error as MusterError).code), /^MUSTER_PHOTO_(UNREADABLE|ANIMATED|TOO_LARGE)$/);
      }
    }),
    { numRuns: 300, seed: 20_261_128 },
  );
  t.true(renewed > 30, `${renewed} of 300 were renewed`);
});

test('a disk that is read-only, full or gone is "not now", ends nothing, and photos go on when it is back', (t) => {
  const said = onSmallDisk(t, fileURLToPath(new URL('./lost-volume.fixture.ts', import.meta.url)));
  if (said === undefined) return;
  const notNow = '503 MUSTER_FILE_STORE_REFUSES 1';
  t.deepEqual(said, [
    `read-only at the start: POST ${notNow}`,
    'writable: GET 404 MUSTER_PHOTO_UNKNOWN null',
    'writable: POST 200',
    `full: POST ${notNow}`,
    'full: GET 200',
    'with room again: POST 200',
    `read-only: POST ${notNow}`,
    'read-only: GET 200',
    `gone: POST ${notNow}`,
    `gone: GET ${notNow}`,
  ]);
});
