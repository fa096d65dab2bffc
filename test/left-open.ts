/**
 * Loaded before every test file: a file whose tests are over ends. AVA would wait for a connection that was left open until
 * its time-out of many minutes; it is told of instead.
 */
import test, { registerCompletionHandler } from 'ava';

/** What the last lines of a file have closed is gone within this time. */
const closingMs = 250;

const open = () => process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length;

registerCompletionHandler(() => {
  if (open() === 0) process.exit();
  setTimeout(() => {
    if (open() > 0)
      process.stderr.write(`left open: ${open()} connections by ${new URL(test.meta.file).pathname}\n`);
    process.exit();
  }, closingMs);
});
