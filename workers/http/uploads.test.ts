import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { onSmallDisk } from '../store/small-disk.fixture.ts';
import type { Callers } from './principals.ts';
import { startTestHttp, tokenOf } from './testing.ts';
import { acceptUploads, sendPicture, type Upload, type UploadOptions } from './uploads.ts';

/** A server with a route that takes a file; `got` says what it was given, `work` is done with it. */
async function serve(
  t: ExecutionContext,
  options: Partial<UploadOptions> = {},
  work: (upload: Upload) => Promise<void> = async () => {},
  callers: Callers = 'anyone',
) {
  const directory = await mkdtemp(join(tmpdir(), 'uploads-'));
  const got: Buffer[] = [];
  const http = await startTestHttp();
  http.app.register(async (scope) => {
    const uploads = await acceptUploads(scope as never, {
      directory,
      maxBytes: 1_000_000,
      maxMs: 60_000,
      atOnce: 3,
      ofOneCaller: 3,
      ...options,
    });
    scope.post('/files', { config: { callers } }, (request, reply) =>
      uploads.receive(request as never, reply as never, async (upload) => {
        got.push(await readFile(upload.path));
        await work(upload);
        return { bytes: upload.bytes, sha256: upload.sha256, path: upload.path };
      }),
    );
    scope.get('/picture', { config: { callers: 'anyone' } }, async (_request, reply) =>
      sendPicture(reply as never, 'image/jpeg', Buffer.from([0xff, 0xd8, 0xff])),
    );
  });
  await http.open();
  t.teardown(async () => {
    await http.close(0);
    await rm(directory, { recursive: true });
  });
  const { port } = http.address();
  const post = async (body: FormData | string | Buffer, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}/files`, { method: 'POST', body, headers });
    // biome-ignore lint/suspicious/noExplicitAny: an answer, or an error
    const json = (await answer.json()) as any;
    const code = json.error?.code as string | undefined;
    return { status: answer.status, json, code, again: answer.headers.get('retry-after') };
  };
  /** Sends the beginning of a request and leaves it at that. */
  const begin = async (bytes: number): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const head = `--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(bytes)}`;
    socket.write(
      `POST /files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n${head}`,
    );
    return socket;
  };
  const left = () => readdir(directory);
  return { post, begin, got, left, url: `http://127.0.0.1:${port}`, directory };
}

/** Looks until it is so; a test that it never becomes times out. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 10));
}

const form = (...files: readonly (readonly [bytes: Uint8Array, name: string, type?: string])[]) => {
  const body = new FormData();
  for (const [bytes, name, type] of files)
    body.append('file', new Blob([new Uint8Array(bytes)], type === undefined ? {} : { type }), name);
  return body;
};

test('a file is there while its request lasts, with its size and hash, and gone afterwards', async (t) => {
  const { post, got, left } = await serve(t);
  const bytes = Buffer.alloc(700_000, 'ab');
  const { status, json } = await post(form([bytes, 'a.jpg', 'image/jpeg']));
  t.is(status, 200);
  t.is(json.bytes, bytes.length);
  t.is(json.sha256, createHash('sha256').update(bytes).digest('hex'));
  t.true(got[0]!.equals(bytes));
  t.deepEqual(await left(), []);
});

test('a file whose work fails is gone as well', async (t) => {
  const { post, left } = await serve(t, {}, async () => {
    throw new Error('no');
  });
  t.is((await post(form([Buffer.from('a'), 'a']))).status, 500);
  t.deepEqual(await left(), []);
});

test('the name that a client gives a file is used for nothing', async (t) => {
  const { post, directory } = await serve(t);
  for (const name of [
    '../../../tmp/evil.jpg',
    '/etc/passwd',
    'a\0b',
    '..',
    '',
    'C:\\x',
    '.htaccess',
    'x'.repeat(5_000),
  ]) {
    const { status, json } = await post(form([Buffer.from('a'), name]));
    t.is(status, 200, name);
    t.regex(json.path.slice(directory.length), /^\/[0-9a-f-]{36}$/, name);
  }
});

test('a body that is not exactly one file is refused', async (t) => {
  const { post, got, left } = await serve(t);
  const one = [Buffer.from('a'), 'a'] as const;
  const withField = form(one);
  withField.append('note', 'hello');
  const fieldOnly = new FormData();
  fieldOnly.append('file', 'hello');
  for (const [what, body] of Object.entries({
    'no part': new FormData(),
    'two files': form(one, one),
    'three files': form(one, one, one),
    'a field instead': fieldOnly,
    'a field beside it': withField,
  })) {
    const { status, code } = await post(body);
    t.is(`${status} ${code}`, '422 MUSTER_UPLOAD_INVALID', what);
  }
  t.deepEqual(got, []);
  t.deepEqual(await left(), []);
});

test('what is no multipart is refused, and so is one that is broken', async (t) => {
  const { post, left } = await serve(t);
  for (const type of ['application/json', 'text/plain', 'image/jpeg', 'application/octet-stream']) {
    const { status, code } = await post('{}', { 'content-type': type });
    t.is(`${status} ${code}`, '415 MUSTER_UNSUPPORTED_MEDIA_TYPE', type);
  }
  const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nabc';
  for (const [type, body] of [
    ['multipart/form-data', part],
    ['multipart/form-data; boundary=b', `${part}`],
    ['multipart/form-data; boundary=b', `${part}\r\n--b`],
    ['multipart/form-data; boundary=b', 'nothing of the kind'],
    ['multipart/form-data; boundary=b', '--b\r\n\r\n\r\n--b--'],
    ['multipart/form-data; boundary=b', `--b\r\nx: ${'y'.repeat(100_000)}\r\n\r\n--b--`],
  ] as const) {
    const { status, code } = await post(body, { 'content-type': type });
    t.true(status === 400 || status === 422, `${status} ${body.slice(0, 200)}`);
    t.is(code, 'MUSTER_UPLOAD_INVALID', body.slice(0, 200));
  }
  t.deepEqual(await left(), []);
});

test('a file of 50 MB is refused with an answer, and no more of it is written than may be', async (t) => {
  const { post, got, left } = await serve(t);
  const { status, code } = await post(form([Buffer.alloc(50_000_000), 'a']));
  t.is(`${status} ${code}`, '413 MUSTER_BODY_TOO_LARGE');
  t.deepEqual(got, []);
  t.deepEqual(await left(), []);
  t.is((await post(form([Buffer.alloc(1_000_001), 'a']))).status, 413);
  t.is((await post(form([Buffer.alloc(1_000_000), 'a']))).status, 200);
});

test('an upload that is cut off leaves nothing behind and gives its place back', async (t) => {
  const { begin, post, got, left } = await serve(t, { atOnce: 1 });
  for (let i = 0; i < 3; i++) {
    const socket = await begin(100_000);
    await until(async () => (await left()).length === 1);
    socket.destroy();
    await until(async () => (await left()).length === 0);
  }
  await until(async () => (await post(form([Buffer.from('a'), 'a']))).status === 200);
  t.is(got.length, 1);
});

test('a file that does not arrive in time is refused, also one that never begins', async (t) => {
  const { begin, left } = await serve(t, { maxMs: 200 });
  for (const bytes of [0, 50_000]) {
    const socket = await begin(bytes);
    const answer: Buffer[] = [];
    for await (const chunk of socket) answer.push(chunk as Buffer);
    t.regex(Buffer.concat(answer).toString(), /^HTTP\/1.1 408 [\s\S]*MUSTER_UPLOAD_SLOW/);
  }
  t.deepEqual(await left(), []);
});

test('more uploads at once than may be are told to come again', async (t) => {
  let go = () => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  let working = 0;
  const { post } = await serve(t, { atOnce: 2 }, async () => {
    working++;
    await held;
  });
  const first = [1, 2].map(() => post(form([Buffer.from('a'), 'a'])));
  await until(async () => working === 2);
  const { status, code } = await post(form([Buffer.from('a'), 'a']));
  t.is(`${status} ${code}`, '503 MUSTER_UPLOADS_BUSY');
  go();
  t.deepEqual(
    (await Promise.all(first)).map((answer) => answer.status),
    [200, 200],
  );
});

test('one caller cannot take the uploads that are there for all', async (t) => {
  const held = Promise.withResolvers<void>();
  let working = 0;
  const work = async () => {
    working++;
    await held.promise;
  };
  const { post } = await serve(t, { atOnce: 3, ofOneCaller: 2 }, work, ['customer']);
  const send = async (subject: string) =>
    post(form([Buffer.from('a'), 'a']), { authorization: `Bearer ${await tokenOf('customer', subject)}` });
  const first = [send('u1'), send('u1')];
  await until(async () => working === 2);
  t.like(await send('u1'), { status: 429, code: 'MUSTER_TOO_MANY_UPLOADS', again: '1' });
  const other = send('u2');
  await until(async () => working === 3);
  held.resolve();
  t.deepEqual(
    (await Promise.all([...first, other])).map(({ status }) => status),
    [200, 200, 200],
  );
  t.is((await send('u1')).status, 200, 'its own have ended');
});

test('on a full disk an upload is "not now", and nothing of it is left', (t) => {
  const said = onSmallDisk(t, fileURLToPath(new URL('./full-disk.fixture.ts', import.meta.url)));
  if (said === undefined) return;
  t.deepEqual(said, {
    answers: ['200 undefined', '503 MUSTER_FILE_STORE_REFUSES', '200 undefined'],
    left: [],
  });
});

test('a picture is given as what it is and can never be run or guessed at', async (t) => {
  const { url } = await serve(t);
  const answer = await fetch(`${url}/picture`);
  t.is(answer.headers.get('content-type'), 'image/jpeg');
  t.is(answer.headers.get('x-content-type-options'), 'nosniff');
  t.is(answer.headers.get('content-disposition'), 'attachment; filename="photo.jpg"');
  t.is(answer.headers.get('content-security-policy'), "default-src 'none'; sandbox");
  t.is(answer.headers.get('cross-origin-resource-policy'), 'same-origin');
  t.is(answer.headers.get('cache-control'), 'private, no-store');
  t.deepEqual([...Buffer.from(await answer.arrayBuffer())], [0xff, 0xd8, 0xff]);
});
