/**
 * Loaded before a worker that a drill starts on this host (`node --import`): when the drill is killed the worker's stdin
 * ends, and the worker with it. A join that nobody knows of would keep its partitions for ever.
 */
import process from 'node:process';

process.stdin.on('end', () => process.exit(1)).resume();
// It must not be what keeps a worker alive that has stopped in its own way.
(process.stdin as unknown as { unref?(): void }).unref?.();
