/** `./muster reconcile`: what was told since a moment and is in no table, for after a restore. */
import type { Command } from 'commander';
import { momentOf } from '../log-query.ts';
import { paint, say, sayJson } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addReconcile(program: Command): void {
  addVerb<{ since: string; json?: boolean }>(program, {
    usage: 'reconcile',
    description: 'after a restore: what topics tell since a moment and the database does not know, id by id',
    examples: [
      ['reconcile --since 2026-11-29T01:02:03Z', 'since the moment that was restored to'],
      ['reconcile --since 10m --json', 'for programs'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .requiredOption('--since <when>', 'begin here: 10m, 2h, 2026-11-21T10:00:00Z')
        .option('--json', 'for programs'),
    async run({ environment }, options) {
      const sinceMs = momentOf('--since', options.since, Date.now());
      const [
        { clusterState, kafkaOf },
        { reconcile },
        { openDatabase },
        { databaseSettings, readSettings },
        { ensureSecrets },
        { hostVariables, secretsFile },
        { plainTable, tableText },
      ] = await Promise.all([
        import('../../environment/kafka.ts'),
        import('../reconcile.ts'),
        import('../../workers/store/database.ts'),
        import('../../workers/base/config.ts'),
        import('../../environment/secrets.ts'),
        import('../../environment/variables.ts'),
        import('../../drawing/table.ts'),
      ]);
      // Says at once, and in words, when there is no broker.
      await clusterState(environment);
      const { secrets } = await ensureSecrets(secretsFile(environment));
      const settings = readSettings(databaseSettings, await hostVariables(environment, secrets));
      const kafka = kafkaOf(environment);
      const db = openDatabase({ settings, connections: 1 });
      try {
        const all = await reconcile(kafka, db, settings.MYSQL_DATABASE, sinceMs);
        const isWhole = all.every(({ unknown }) => unknown.length === 0);
        if (options.json === true) {
          sayJson({ since: new Date(sinceMs).toISOString(), topics: all });
          return isWhole ? 'ok' : 'failed';
        }
        const table = plainTable(['topic', 'told', 'not known'], [1, 2], paint);
        for (const { topic, looked, unknown } of all)
          table.push([topic, String(looked), String(unknown.length)]);
        say(tableText(table));
        for (const { topic, unknown } of all)
          if (unknown.length > 0) say(`\n${topic}:\n${unknown.map((id) => `  ${id}`).join('\n')}`);
        return isWhole ? 'ok' : 'failed';
      } finally {
        await Promise.allSettled([kafka.close(), db.destroy()]);
      }
    },
  });
}
