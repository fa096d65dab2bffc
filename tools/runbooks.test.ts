import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Command } from 'commander';
import { ruleGroups } from '../alerts/index.ts';
import { isAlert } from '../alerts/rule.ts';
import { environments } from '../catalog/environments.ts';
import { checkout } from '../environment/paths.ts';
import { placements } from '../stacks/config/index.ts';

const folder = join(checkout, 'alerts/runbooks');
const texts = new Map([
  ...readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')] as const),
  ...ruleGroups(environments.dev).flatMap(({ rules }) =>
    rules.filter(isAlert).map(({ name, firstStep }) => [`first step of ${name}`, firstStep] as const),
  ),
]);

const documents = ['README.md', ...readdirSync(join(checkout, 'docs')).map((file) => `docs/${file}`)]
  .filter((file) => file.endsWith('.md'))
  .map((file) => [file, readFileSync(join(checkout, file), 'utf8')] as const);

/** The command line as it is: each file of tools/verbs adds its verb. */
const program = new Command();
for (const file of readdirSync(join(checkout, 'tools/verbs'))) {
  const module = (await import(join(checkout, 'tools/verbs', file))) as Record<string, unknown>;
  for (const [name, add] of Object.entries(module))
    if (/^add[A-Z]/.test(name)) (add as (to: Command) => void)(program);
}

/** The command that words on the command line lead to, sub-commands included, and the words left. */
function commandOf(
  words: readonly string[],
  from: Command = program,
): { readonly command: Command; readonly rest: readonly string[] } {
  const [word, ...rest] = words;
  const next = from.commands.find((command) => command.name() === word);
  return next === undefined ? { command: from, rest: words } : commandOf(rest, next);
}

/** Every call of ./muster in a text: its words up to a pipe, a quote, or the end of the sentence. */
function calls(text: string): readonly (readonly string[])[] {
  return [...text.matchAll(/\.\/muster((?: +(?:--?)?[\w:.<>=-]*[\w>])*)/g)].map(([, words]) =>
    words!
      .trim()
      .replace(/^--env (dev|ci|prod|<\w+>) /, '')
      .split(/ +/),
  );
}

/** What is wrong with a call; empty when nothing is. */
function problems(words: readonly string[]): readonly string[] {
  const { command, rest } = commandOf(words);
  if (command === program || command.commands.length > 0) return [`no such verb: ${words.join(' ')}`];
  const known = command.options.flatMap(({ short, long }) => [short, long]);
  return rest
    .filter((word) => word.startsWith('-') && !known.includes(word))
    .map((option) => `${command.name()} has no ${option}`);
}

test('runbooks, first steps and documents call ./muster with verbs and options that it has', (t) => {
  let checked = 0;
  for (const [where, text] of [...texts, ...documents])
    for (const words of calls(text)) {
      if (words[0] === '') continue;
      t.deepEqual(problems(words), [], `${where}: ./muster ${words.join(' ')}`);
      checked += 1;
    }
  t.true(checked > 80, `${checked} calls`);
});

test('a verb, a sub-verb or an option that does not exist is noticed', (t) => {
  const found = calls('run `./muster logs api --grep x | tail`, ./muster status: look, ./muster dlq purge');
  t.deepEqual(found, [['logs', 'api', '--grep', 'x'], ['status'], ['dlq', 'purge']]);
  t.deepEqual(found.map(problems), [['logs has no --grep'], [], ['no such verb: dlq purge']]);
  t.deepEqual(problems(['nonsense']), ['no such verb: nonsense']);
});

test('ports and containers in runbooks are those of dev', (t) => {
  const containers = new Set(placements(environments.dev).map(({ alias }) => `muster-dev-${alias}`));
  const ports = new Set(
    placements(environments.dev).flatMap(({ ports: placed }) =>
      Object.values(placed).map(({ published }) => String(published)),
    ),
  );
  for (const [where, text] of texts) {
    for (const [, port] of text.matchAll(/127\.0\.0\.1:(\d+)/g))
      t.true(ports.has(port!), `${where}: port ${port}`);
    for (const [, container] of text.matchAll(
      /(?:exec|restart|stop|inspect|QUIT) (muster-dev-[\w-]+?)(?![\w-]*\$)\b/g,
    ))
      t.true(
        [...containers].some((known) => known === container || known.startsWith(container!)),
        `${where}: container ${container}`,
      );
  }
});
