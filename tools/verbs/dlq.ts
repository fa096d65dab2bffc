/** `./muster dlq`: records that could not be understood or handled. */
import type { Command } from 'commander';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { numberOf, paint, say, sayJson } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

export function addDlq(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('look at dead letters and send them again')
    .addHelpText(
      'after',
      '\nExamples:\n  $ ./muster dlq list\n  $ ./muster dlq show purchase\n  $ ./muster dlq replay purchase\n\n./muster dlq list --help shows the exit codes.',
    );

  addVerb<{ json?: boolean }>(dlq, {
    usage: 'list',
    description: 'dead letter topics with entries: how many, how new, and why they are there',
    examples: [
      ['dlq list', 'all of them'],
      ['dlq list --json', 'for programs'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) => command.option('--json', 'for programs'),
    run: (context, options) =>
      withKafka(context, async (kafka) => {
        const [{ listDeadLetters, showDeadLetters }, { newestReasons }, { plainTable, tableText }] =
          await Promise.all([
            import('../../workers/kafka/dead-letters.ts'),
            import('../dead-letter-view.ts'),
            import('../../drawing/table.ts'),
          ]);
        const all = await listDeadLetters(kafka);
        const filled = [];
        for (const one of all)
          if (one.entries > 0)
            filled.push({
              ...one,
              ...newestReasons(await showDeadLetters(kafka, one.topic, { limit: 100 })),
            });
        if (options.json === true) {
          sayJson(filled);
          return;
        }
        const table = plainTable(['topic', 'entries', 'not replayed', 'newest', 'why'], [1, 2], paint);
        for (const { topic, entries, open, newest, why } of filled)
          table.push([topic, String(entries), String(open), newest, why]);
        if (filled.length > 0) say(tableText(table));
        const empty = all.length - filled.length;
        if (empty > 0)
          process.stdout.write(
            filled.length === 0 ? `No dead letters in ${empty} topics.\n` : `${empty} others are empty.\n`,
          );
      }),
  });

  addVerb<{ limit: string; raw?: boolean }>(dlq, {
    usage: 'show <topic>',
    description: 'entries of a dead letter topic with their reasons; personal data is masked',
    examples: [
      ['dlq show purchase', 'those of topic purchase'],
      ['dlq show purchase --limit 5 --raw', 'the newest five, key and value in clear'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--limit <n>', 'newest entries of each partition', '20')
        .option('--raw', 'keys and values in clear: they may hold personal data'),
    run: (context, options, [topic = '']) =>
      withKafka(context, async (kafka) => {
        const [{ showDeadLetters }, { shownEntry }] = await Promise.all([
          import('../../workers/kafka/dead-letters.ts'),
          import('../dead-letter-view.ts'),
        ]);
        const entries = await showDeadLetters(kafka, topic, { limit: numberOf('--limit', options.limit) });
        if (entries.length === 0) say('No entries.');
        for (const entry of entries) process.stdout.write(shownEntry(entry, { raw: options.raw === true }));
      }),
  });

  addVerb<{ limit?: string; again?: boolean }>(dlq, {
    usage: 'replay <topic>',
    description: 'send dead letters back to where they came from, after what was wrong is mended',
    examples: [
      ['dlq replay purchase', 'those that were not replayed yet'],
      ['dlq replay purchase --limit 10', 'a few first'],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    configure: (command) =>
      command
        .option('--limit <n>', 'at most this many')
        .option('--again', 'also those that were replayed before'),
    run: (context, options, [topic = '']) =>
      withKafka(context, async (kafka) => {
        const { replayDeadLetters } = await import('../../workers/kafka/dead-letters.ts');
        const producer = await kafka.producer('dlq-replay');
        const { replayed, left } = await replayDeadLetters(kafka, producer, topic, {
          ...(options.limit === undefined ? {} : { limit: numberOf('--limit', options.limit) }),
          ...(options.again === true ? { again: true } : {}),
        });
        say(`${replayed} replayed, ${left} left`);
        if (replayed > 0)
          say(`What fails again comes back: ./muster --env ${context.environment.name} dlq list`);
      }),
  });
}

async function withKafka(context: VerbContext, work: (kafka: Kafka) => Promise<void>): Promise<undefined> {
  const { clusterState, kafkaOf } = await import('../../environment/kafka.ts');
  // Says at once, and in words, when there is no broker.
  await clusterState(context.environment);
  const kafka = kafkaOf(context.environment);
  try {
    await work(kafka);
  } finally {
    await kafka.close();
  }
  return undefined;
}
