/**
 * Sends photos to a server that keeps them on a small disk, which is read-only, full and gone in turn: says how each was answered.
 * Whatever nobody catches ends this process, and the test.
 */
import { execFileSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '../base/log.ts';
import { HttpError } from '../http/errors.ts';
import { startTestHttp } from '../http/testing.ts';
import { acceptUploads, sendPicture } from '../http/uploads.ts';
import { folderStore } from '../store/files.ts';
import { renewPhoto } from './photos.ts';
import { noise } from './pictures.fixture.ts';

const folder = process.argv[2]!;
const mount = (...options: readonly string[]) => execFileSync('mount', [...options, folder]);
const answers: string[] = [];

mount('-o', 'remount,ro');
const files = folderStore(folder);
const http = await startTestHttp({ log: silentLog() });
http.app.register(async (scope) => {
  const uploads = await acceptUploads(scope as never, {
    ...{ directory: files.incoming, maxBytes: 1_000_000, maxMs: 60_000, atOnce: 2, ofOneCaller: 2 },
  });
  scope.post('/photos', { config: { callers: 'anyone' } }, async (request, reply) => {
    await files.ready();
    return uploads.receive(request as never, reply as never, async ({ path }) => {
      await files.put('photo', await renewPhoto(path));
      return {};
    });
  });
  scope.get('/photos', { config: { callers: 'anyone' } }, async (_request, reply) => {
    const bytes = await files.get('photo');
    if (bytes === undefined) throw new HttpError(404, 'MUSTER_PHOTO_UNKNOWN', 'there is none');
    return sendPicture(reply as never, 'image/jpeg', bytes);
  });
});
await http.open();

const photo = await noise(100, 100).jpeg().toBuffer();
async function ask(when: string, method: 'POST' | 'GET') {
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(photo)]), 'a');
  const url = `http://127.0.0.1:${http.address().port}/photos`;
  const answer = await fetch(url, method === 'GET' ? {} : { method, body });
  const text = await answer.text();
  const code = answer.ok ? '' : ` ${JSON.parse(text).error.code} ${answer.headers.get('retry-after')}`;
  answers.push(`${when}: ${method} ${answer.status}${code}`);
}
const filling = join(folder, 'filling');
const fill = async () => {
  for (let bytes = 300_000; bytes > 0; bytes -= 4_096)
    try {
      await writeFile(filling, Buffer.alloc(bytes));
      return;
    } catch {
      // Less of it.
    }
};

await ask('read-only at the start', 'POST');
mount('-o', 'remount,rw');
await ask('writable', 'GET');
await ask('writable', 'POST');
await fill();
await ask('full', 'POST');
await ask('full', 'GET');
await rm(filling);
await ask('with room again', 'POST');
mount('-o', 'remount,ro');
await ask('read-only', 'POST');
await ask('read-only', 'GET');
execFileSync('umount', ['-l', folder]);
await ask('gone', 'POST');
await ask('gone', 'GET');
process.stdout.write(JSON.stringify(answers));
await http.close(0);
