/**
 * Files that people send and are shown: one a request as multipart/form-data, written to a file of ours as it comes, within
 * limits; and pictures as an answer that can never be run. Nothing that the client says of a file is believed or kept: not its
 * name, not its type.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import multipart, { type MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { createSlots } from '../base/concurrency.ts';
import { NotNowError } from '../base/errors.ts';
import { translateFileError } from '../store/files.ts';
import { HttpError } from './errors.ts';
import { hearOut } from './hear-out.ts';
import { roomEach } from './room-each.ts';

export interface UploadOptions {
  /** Where files lie while their request lasts. */
  readonly directory: string;
  readonly maxBytes: number;
  /** Longest time from the first look at the body to its last byte. */
  readonly maxMs: number;
  /** Requests of this kind at the same time; more are answered "not now". */
  readonly atOnce: number;
  /** Of one caller. */
  readonly ofOneCaller: number;
}

export interface Upload {
  /** Gone when the work with it has ended. */
  readonly path: string;
  readonly bytes: number;
  /** Of its bytes, hexadecimal: the same file sent again has the same. */
  readonly sha256: string;
}

export interface Uploads {
  /**
   * Takes the file of a request in and runs `work` with it. Throws 400 MUSTER_UPLOAD_CUT_OFF, 408 MUSTER_UPLOAD_SLOW,
   * 413 MUSTER_BODY_TOO_LARGE, 422 MUSTER_UPLOAD_INVALID (not exactly one file), 429 MUSTER_TOO_MANY_UPLOADS (of this caller),
   * MUSTER_UPLOADS_BUSY and MUSTER_FILE_STORE_REFUSES (not now).
   */
  receive<T>(request: FastifyRequest, reply: FastifyReply, work: (upload: Upload) => Promise<T>): Promise<T>;
}

/** For routes of this scope; others go on to refuse what is no JSON. */
export async function acceptUploads(scope: FastifyInstance, options: UploadOptions): Promise<Uploads> {
  const slots = createSlots(options.atOnce);
  const takeOne = roomEach(options.ofOneCaller);
  scope.removeAllContentTypeParsers();
  await scope.register(multipart);
  return {
    async receive(request, reply, work) {
      const giveBack = takeOne(request);
      if (giveBack === undefined) {
        reply.header('retry-after', '1');
        throw new HttpError(
          429,
          'MUSTER_TOO_MANY_UPLOADS',
          `at most ${options.ofOneCaller} uploads of one caller at a time; wait for one to end`,
        );
      }
      const release = slots.take();
      if (release === undefined) {
        giveBack();
        throw new NotNowError('MUSTER_UPLOADS_BUSY', 'as many uploads as may be are under way; try again');
      }
      const path = join(options.directory, randomUUID());
      try {
        return await work(await readFile(request, path, options));
      } catch (error) {
        // Who was slow has been heard long enough.
        if (!(error instanceof HttpError && error.status === 408)) await hearOut(request.raw);
        if (!request.raw.complete) reply.header('connection', 'close');
        throw error;
      } finally {
        await rm(path, { force: true }).catch(() => undefined);
        release();
        giveBack();
      }
    },
  };
}

async function readFile(request: FastifyRequest, path: string, options: UploadOptions): Promise<Upload> {
  if (!request.isMultipart())
    throw new HttpError(
      415,
      'MUSTER_UNSUPPORTED_MEDIA_TYPE',
      'the content type is not supported; send multipart/form-data with one file',
    );
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      late.abort();
      reject(new HttpError(408, 'MUSTER_UPLOAD_SLOW', 'the file did not arrive in time'));
    }, options.maxMs);
  });
  try {
    return await Promise.race([readParts(request, path, options.maxBytes, late.signal), tooLate]);
  } catch (error) {
    throw reasonOf(error, request.raw, options.maxBytes);
  } finally {
    clearTimeout(timer);
  }
}

async function readParts(
  request: FastifyRequest,
  path: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Upload> {
  let upload: Upload | undefined;
  // Two, so that a second one is seen and refused.
  const limits = { files: 2, fields: 1, parts: 2, fileSize: maxBytes, headerPairs: 20 };
  for await (const part of request.parts({ limits })) {
    if (part.type !== 'file' || upload !== undefined) throw oneFile('has more than one file');
    upload = await writePart(part, path, signal);
  }
  if (upload === undefined) throw oneFile('has no file');
  return upload;
}

async function writePart({ file }: MultipartFile, path: string, signal: AbortSignal): Promise<Upload> {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* counted(source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  }
  await pipeline(file, counted, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal });
  return { path, bytes, sha256: hash.digest('hex') };
}

const oneFile = (reason: string) =>
  new HttpError(422, 'MUSTER_UPLOAD_INVALID', 'the body must be one file', [{ field: '(root)', reason }]);

const tooLong = (maxBytes: number) =>
  new HttpError(413, 'MUSTER_BODY_TOO_LARGE', `the file is longer than ${maxBytes} bytes`);

function reasonOf(error: unknown, raw: IncomingMessage, maxBytes: number): unknown {
  if (error instanceof HttpError) return error;
  const translated = translateFileError(error);
  if (translated !== error) return translated;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === 'FST_REQ_FILE_TOO_LARGE') return tooLong(maxBytes);
  if (code?.endsWith('_LIMIT')) return oneFile('has more than one part');
  // Nobody is there to read it, but the log should not say that it was our fault.
  if (raw.destroyed && !raw.complete)
    return new HttpError(400, 'MUSTER_UPLOAD_CUT_OFF', 'the body ended before its end');
  if (syscall !== undefined) return error;
  return new HttpError(400, 'MUSTER_UPLOAD_INVALID', 'the body is not valid multipart/form-data', undefined, {
    cause: error,
  });
}

/** Answers with a picture of ours: shown or kept by who asked for it, never run, guessed at or shared. */
export function sendPicture(reply: FastifyReply, type: 'image/jpeg', bytes: Buffer): FastifyReply {
  return reply
    .headers({
      'content-type': type,
      'x-content-type-options': 'nosniff',
      'content-disposition': 'attachment; filename="photo.jpg"',
      'content-security-policy': "default-src 'none'; sandbox",
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'private, no-store',
    })
    .send(bytes);
}
