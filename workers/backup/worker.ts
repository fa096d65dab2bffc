/** Worker `mysql-backup`: follows the log of the database, takes base copies, restores one each day to see that it can be. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { metrics } from '../../catalog/metrics.ts';
import { gauge } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { openArchive } from './archive.ts';
import { takeBase } from './base.ts';
import { followLog } from './follow.ts';
import { planRestore, pruneArchive } from './plan.ts';
import { openSource, type Source, writeClientFile } from './server.ts';
import { backupSettings } from './settings.ts';
import { verify } from './verify.ts';

const hourMs = 3_600_000;
const lookEveryMs = 30_000;
const verifyEveryMs = 24 * hourMs;
/** After a trial that failed. */
const againAfterMs = 600_000;

export const worker: Worker<typeof backupSettings> = {
  name: 'mysql-backup',
  consumes: [],
  produces: [],
  staysSmall: true,
  config: backupSettings,
  async start({ config, log, metrics: registry }) {
    const archive = openArchive(config.BACKUP_DIRECTORY, Buffer.from(config.BACKUP_KEY, 'hex'));
    // What a life that was cut off in the middle of a trial has left.
    await rm(config.BACKUP_SCRATCH, { recursive: true, force: true });
    await mkdir(config.BACKUP_SCRATCH, { recursive: true });
    const clientFile = join(config.BACKUP_SCRATCH, 'client.cnf');
    await writeClientFile(clientFile, config);
    const connect = () => openSource(config);
    const spool = join(config.BACKUP_SCRATCH, 'spool');
    const following = followLog({ connect, archive, spool, clientFile, log });
    gauge(registry, metrics.backup.atRisk, (own) => own.set(following.atRiskMs() / 1_000));
    const baseTime = gauge(registry, metrics.backup.baseTime);
    const verifiedTime = gauge(registry, metrics.backup.verifiedTime);
    const stopping = new AbortController();
    const { signal } = stopping;

    /** Of the server that is followed, with a log that has no gap since; 0: there is none. */
    async function newestBaseMs(): Promise<number> {
      const plan = await planRestore(archive, undefined).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'MUSTER_BACKUP_NONE' || error.code === 'MUSTER_BACKUP_MISSING') return undefined;
        throw error;
      });
      return plan?.base.serverId === following.serverId() ? plan!.base.takenAtMs : 0;
    }

    async function withSource<T>(use: (source: Source) => Promise<T>): Promise<T> {
      const source = await connect();
      try {
        return await use(source);
      } finally {
        source.close();
      }
    }

    /** Takes a base copy when it is time, and removes what is too old then. */
    async function copy(): Promise<void> {
      let newestMs = await newestBaseMs();
      if (Date.now() - newestMs > config.BACKUP_EVERY_HOURS * hourMs) {
        const name = await withSource((source) =>
          takeBase({ source, archive, clientFile, shop: config.MYSQL_DATABASE }),
        );
        log.info('a base copy was taken', { name });
        const gone = await pruneArchive(archive, Date.now() - config.BACKUP_KEEP_DAYS * 24 * hourMs);
        if (gone.length > 0) log.info('old backups were removed', { gone });
        newestMs = await newestBaseMs();
      }
      baseTime.set(newestMs / 1_000);
    }

    /** Restores the newest and compares, when it is time. */
    async function tryIt(): Promise<void> {
      let verifiedMs = (await archive.verified())?.atMs ?? 0;
      if (Date.now() - verifiedMs > verifyEveryMs && performance.now() > triedAt + againAfterMs) {
        triedAt = performance.now();
        const tell = (step: string) => log.debug('a backup is tried', { step });
        const { BACKUP_SCRATCH: scratch, MYSQL_DATABASE: shop } = config;
        const said = await withSource((source) => verify({ source, archive, scratch, shop, tell }));
        log.info('a backup was restored and is what was there', { ...said });
        verifiedMs = said.atMs;
      }
      verifiedTime.set(verifiedMs / 1_000);
    }
    let triedAt = Number.NEGATIVE_INFINITY;

    const looking = (async () => {
      while (!signal.aborted) {
        // As soon as the log is followed; what is copied earlier has nothing to go on with.
        const follows = following.serverId() !== undefined;
        if (follows)
          await copy()
            .then(tryIt)
            .catch((error: unknown) => log.error('a backup could not be made or tried', { error }));
        await sleep(follows ? lookEveryMs : 1_000, undefined, { signal }).catch(() => {});
      }
    })();
    return {
      ready: () => following.serverId() !== undefined,
      waitingFor: () => 'the log of the database',
      async stop() {
        stopping.abort();
        await following.stop();
        // A copy or a trial may take minutes. What it has not finished counts for nothing, and is removed by the next life.
        await Promise.race([looking, sleep(1_000)]);
      },
    };
  },
};
