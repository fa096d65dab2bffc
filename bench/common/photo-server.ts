/** The server that `bench photos` sends to: uploads as food delivery has them, without its database. Its folder is its argument. */
import { randomUUID } from 'node:crypto';
import { silentLog } from '../../workers/base/log.ts';
import { startTestHttp } from '../../workers/http/testing.ts';
import { acceptUploads } from '../../workers/http/uploads.ts';
import { renewPhoto } from '../../workers/platform/photos.ts';
import { folderStore } from '../../workers/store/files.ts';

const files = folderStore(process.argv[2]!);
await files.ready();
const http = await startTestHttp({ log: silentLog() });
http.app.register(async (scope) => {
  const limits = { maxBytes: 10 * 2 ** 20, maxMs: 20_000, atOnce: 20, ofOneCaller: 20 };
  const uploads = await acceptUploads(scope as never, { directory: files.incoming, ...limits });
  scope.post('/photos', { config: { callers: 'anyone' } }, (request, reply) =>
    uploads.receive(request as never, reply as never, async ({ path }) => {
      await files.put(randomUUID(), await renewPhoto(path));
      return {};
    }),
  );
});
await http.open();
process.send?.({ port: http.address().port });
