/**
 * Photos that strangers send, made anew: what comes out is a JPEG of ours that has the pixels of theirs and nothing else, no
 * metadata, no second picture, nothing behind its end. Decoded by libvips (sharp), which can open three formats here and is told
 * beforehand how much it may take.
 */
import { type FileHandle, open } from 'node:fs/promises';
import sharp, { type Metadata } from 'sharp';
import { createSlots } from '../base/concurrency.ts';
import { NotNowError } from '../base/errors.ts';
import { HttpError } from '../http/errors.ts';
import { translateFileError } from '../store/files.ts';

/** Phones take 50 million. Counted from the header, before anything is decoded. */
const maxPixels = 51_000_000;
/** Some kinds are decoded whole before the first row comes out: of those no more than this. */
const maxWholeBytes = 64 * 2 ** 20;
const longestSide = 1_280;
const quality = 80;
const longestSeconds = 10;
/** What a PNG may have before its pixels; libpng inflates each compressed one, to 8 MB. */
const maxChunks = 64;
const maxCompressedChunks = 4;
/** As many as the machines have processors: more at once take more memory and are no faster. */
const decoding = createSlots(2);

sharp.cache(false);
sharp.concurrency(1);
// All others (SVG, GIF, TIFF, PDF, ...) do not exist for this process, whatever a file says it is.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['VipsForeignLoadJpegFile', 'VipsForeignLoadPngFile', 'VipsForeignLoadWebpFile'],
});

/**
 * The photo in a file as a JPEG of at most 1280 pixels a side, upright, in sRGB, without anything else. Throws 422
 * MUSTER_PHOTO_UNREADABLE (no whole JPEG, PNG or WebP), MUSTER_PHOTO_ANIMATED, MUSTER_PHOTO_TOO_LARGE (pixels), and
 * MUSTER_PHOTO_SLOW and MUSTER_FILE_STORE_REFUSES (not now).
 */
export async function renewPhoto(path: string): Promise<Buffer> {
  const release = await decoding.next();
  try {
    await checkPng(path);
    checkPhoto(await openPhoto(path).metadata());
    return await openPhoto(path)
      .resize(longestSide, longestSide, { fit: 'inside', kernel: 'linear', withoutEnlargement: true })
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      // Its own tables make a file smaller by a sixth, and cost a fifth of the time.
      .jpeg({ quality, optimiseCoding: false })
      .timeout({ seconds: longestSeconds })
      .toBuffer();
  } catch (error) {
    throw reasonOf(error as Error);
  } finally {
    release();
  }
}

const openPhoto = (path: string) =>
  sharp(path, { limitInputPixels: maxPixels, failOn: 'error', sequentialRead: true, autoOrient: true });

function checkPhoto(about: Metadata): void {
  if ((about.pages ?? 1) > 1) throw animated();
  if (wholeBytes(about) > maxWholeBytes) throw tooLarge();
}

/** What the decoder keeps of a photo at once; 0 for those that come row by row. */
function wholeBytes({ format, width, height, channels, depth, isProgressive, chromaSubsampling }: Metadata) {
  const pixels = width * height;
  if (format === 'webp') return pixels * 4;
  if (!isProgressive) return 0;
  // The coefficients of a progressive JPEG have two bytes each.
  if (format === 'jpeg') return pixels * 2 * (chromaSubsampling === '4:2:0' ? 1.5 : channels);
  return pixels * channels * (depth === 'ushort' ? 2 : 1);
}

/** Looks at what a PNG has before its pixels: the decoder would show an animation as its first picture, and inflate all texts. */
async function checkPng(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    const signature = await bytesAt(file, 0, 8);
    if (signature.toString('latin1') !== '\x89PNG\r\n\x1a\n') return;
    let compressed = 0;
    for (let at = 8, chunks = 0; ; chunks++) {
      const head = await bytesAt(file, at, 8);
      const type = head.toString('latin1', 4);
      if (type === 'IDAT' || head.length < 8) return;
      if (type === 'acTL') throw animated();
      if (['zTXt', 'iTXt', 'iCCP'].includes(type)) compressed++;
      if (chunks > maxChunks || compressed > maxCompressedChunks) throw unreadable();
      at += 12 + head.readUInt32BE(0);
    }
  } finally {
    await file.close();
  }
}

async function bytesAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

const animated = () => new HttpError(422, 'MUSTER_PHOTO_ANIMATED', 'a photo does not move');
const tooLarge = () =>
  new HttpError(
    422,
    'MUSTER_PHOTO_TOO_LARGE',
    `the photo has too many pixels: at most ${maxPixels / 1e6} million, and fewer when it is progressive or WebP`,
  );
const unreadable = (cause?: Error) =>
  new HttpError(422, 'MUSTER_PHOTO_UNREADABLE', 'the file is no whole JPEG, PNG or WebP', undefined, {
    cause,
  });

/** libvips tells by text only. */
function reasonOf(error: Error): unknown {
  if (error instanceof HttpError) return error;
  // The file was there before: the disk is away.
  if ('syscall' in error) return translateFileError(error);
  if (/pixel limit/.test(error.message)) return tooLarge();
  if (/^timeout/.test(error.message))
    return new NotNowError('MUSTER_PHOTO_SLOW', 'the photo could not be decoded in time', { cause: error });
  return unreadable(error);
}
