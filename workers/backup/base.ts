/** A base copy: a dump of our databases as of one moment, which nobody waits for, with its position in the server's log. */
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { MusterError } from '../base/errors.ts';
import { program } from '../base/programs.ts';
import type { Archive } from './archive.ts';
import { type Source, schemasOf } from './server.ts';

/** The dump's first lines say where in the log it is. */
const positionPattern = /CHANGE MASTER TO MASTER_LOG_FILE='(binlog\.\d+)', MASTER_LOG_POS=(\d+);/;
const longestHead = 65_536;
/** One that hangs is ended. */
const longestMs = 7_200_000;

async function* joined(first: Buffer, rest: AsyncIterator<Buffer>, ended: Promise<void>) {
  let tail = first;
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    tail = Buffer.concat([tail.subarray(-200), next.value.subarray(-200)]);
    yield next.value;
  }
  await ended;
  if (!tail.toString().includes('-- Dump completed'))
    throw new MusterError('MUSTER_PROGRAM', 'the dump ended before it was complete');
}

/**
 * Takes a base copy of those of our databases that are there, and keeps it; resolves to its name. `shop`: MYSQL_DATABASE.
 * Rejects with MUSTER_BACKUP_SOURCE, MUSTER_PROGRAM (a table was dropped meanwhile, say), or what the disk says.
 */
export async function takeBase(options: {
  readonly source: Source;
  readonly archive: Archive;
  readonly clientFile: string;
  readonly shop: string;
}): Promise<string> {
  const { source, archive, clientFile, shop } = options;
  const databases = await source.present(schemasOf(shop));
  if (databases.length === 0)
    throw new MusterError('MUSTER_BACKUP_EMPTY', `the server has no database ${shop}`);
  const dump = program(
    'mariadb-dump',
    [
      `--defaults-file=${clientFile}`,
      ...['--single-transaction', '--quick', '--master-data=2', '--triggers', '--hex-blob'],
      ...['--databases', ...databases],
    ],
    { timeout: longestMs },
  );
  const pieces = (dump.child.stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    let position: RegExpExecArray | null = null;
    while (position === null) {
      const next = await pieces.next();
      if (next.done === true || head.length > longestHead) {
        await dump.ended;
        throw new MusterError('MUSTER_PROGRAM', 'the dump does not say where in the log it is');
      }
      head = Buffer.concat([head, next.value]);
      position = positionPattern.exec(head.toString());
    }
    // Asked after the moment of the copy, so that nobody who wants an earlier one gets it.
    const { atMs } = await source.standing();
    const manifest = {
      serverId: source.serverId,
      serverVersion: source.version,
      position: { file: position[1]!, position: Number(position[2]) },
      databases,
      takenAtMs: atMs,
    };
    let name = '';
    await pipeline(joined(head, pieces, dump.ended), createGzip({ level: 3 }), async (deflated) => {
      name = await archive.addBase(manifest, deflated as AsyncIterable<Buffer>);
    });
    return name;
  } finally {
    dump.child.kill('SIGKILL');
  }
}
