/** Sends files to a server whose uploads lie on a small disk: says how each was answered, and what is left. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '../base/log.ts';
import { startTestHttp } from './testing.ts';
import { acceptUploads } from './uploads.ts';

const directory = process.argv[2]!;
const http = await startTestHttp({ log: silentLog() });
http.app.register(async (scope) => {
  const uploads = await acceptUploads(scope as never, {
    directory,
    maxBytes: 1_000_000,
    maxMs: 60_000,
    atOnce: 1,
    ofOneCaller: 1,
  });
  scope.post('/files', { config: { callers: 'anyone' } }, (request, reply) =>
    uploads.receive(request as never, reply as never, async ({ bytes }) => ({ bytes })),
  );
});
await http.open();
const answers: string[] = [];
const send = async (bytes: number) => {
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(bytes)]), 'a');
  const answer = await fetch(`http://127.0.0.1:${http.address().port}/files`, { method: 'POST', body });
  const { error } = (await answer.json()) as { error?: { code: string } };
  answers.push(`${answer.status} ${error?.code}`);
};
const others = join(directory, 'others');
await writeFile(others, Buffer.alloc(100_000));
await send(150_000);
await send(400_000);
await rm(others);
await send(250_000);
process.stdout.write(JSON.stringify({ answers, left: await readdir(directory) }));
await http.close(0);
