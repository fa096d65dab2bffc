/**
 * Loaded before every test file: a file whose tests are over ends. AVA would wait for a connection that was left open until
 * its time-out of many minutes; it is told of instead.
 */
import test, { registerCompletionHandler } from 'ava';

registerCompletionHandler(() => {
  const open = process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap');
  if (open.length > 0)
    process.stderr.write(`left open: ${open.length} connections by ${new URL(test.meta.file).pathname}\n`);
  process.exit();
});
