/** Each `./muster …` that a document tells to run is one that there is: verb, options, and what it is about. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Command } from 'commander';
import { environments } from '../catalog/environments.ts';
import { promises } from '../catalog/promises.ts';
import { drillNamed } from '../drills/drills.ts';
import { scenarios } from '../drills/simulation/scenarios.ts';
import { checkout } from '../environment/paths.ts';
import { placements } from '../stacks/config/index.ts';

const { dev } = environments;
const program = new Command('./muster')
  .option('--env <name>')
  .option('--images <source>')
  .option('--debug')
  .option('--version');
for (const file of readdirSync(join(checkout, 'tools/verbs'))) {
  const module = (await import(join(checkout, 'tools/verbs', file))) as Record<string, unknown>;
  for (const [name, add] of Object.entries(module))
    if (/^add[A-Z]/.test(name)) (add as (to: Command) => void)(program);
}

const isDrill = (name: string): boolean => {
  try {
    return drillNamed(name, dev) !== undefined;
  } catch {
    return false;
  }
};
/** What `drill` takes beside the name of one. */
const several = ['list', 'all', 'changes', 'outages', 'soak', 'matrix', 'pay-operations', 'seeded-bugs'];
const parts = new Set(placements(dev).map(({ alias }) => alias));
/** By verb: whether there is what an argument names. */
const isKnown: Readonly<Record<string, (argument: string) => boolean>> = {
  drill: (name) => several.includes(name) || isDrill(name),
  bench: (name) => existsSync(join(checkout, 'bench', `${name}.ts`)),
  logs: (name) => parts.has(name),
  promises: (name) => promises.some((promise) => promise.name === name),
  simulate: (name) => Object.hasOwn(scenarios, name),
};

/** What is wrong with a command line after ./muster; undefined: nothing. */
function wrongWith(words: readonly string[]): string | undefined {
  let verb = program;
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index]!;
    // Something is put in its place; or options of a benchmark's own follow.
    if (/^[<$…[]/.test(word) || word === '--') return undefined;
    if (word.startsWith('-')) {
      const [flag = ''] = word.split('=');
      const option = [...verb.options, ...program.options].find(
        ({ long, short }) => long === flag || short === flag,
      );
      if (option === undefined && flag !== '--help') return `${verb.name()} has no option ${flag}`;
      const isValued = option !== undefined && (option.required || option.optional);
      if (isValued && !word.includes('=')) index += 1;
      continue;
    }
    const sub = verb.commands.find((one) => one.name() === word);
    if (sub !== undefined) {
      verb = sub;
      continue;
    }
    if (verb === program) return `there is no verb ${word}`;
    const choices = verb.registeredArguments[0]?.argChoices;
    if (choices !== undefined && !choices.includes(word)) return `${verb.name()} knows no ${word}`;
    if (isKnown[verb.name()]?.(word) === false) return `${verb.name()} knows no ${word}`;
  }
  return undefined;
}

const commandLine = /\.\/muster((?: +(?:"[^"\n]*"|'[^'\n]*'|(?!\.\/muster)[^\s`|)&;#>"']+))*)/g;
/** Command lines in a text, to the end of a clause. */
const commandsIn = (text: string): readonly (readonly string[])[] =>
  [...text.matchAll(commandLine)].map(([, rest = '']) => {
    const words = rest.match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
    const last = words.findIndex((word) => /\w[.,:]$/.test(word));
    return words
      .slice(0, last === -1 ? words.length : last + 1)
      .map((word) => word.replace(/(?<=\w)[.,:]$/, ''));
  });

test('commands in documents are commands that there are', (t) => {
  const files = execFileSync('git', ['ls-files', '*.md'], { cwd: checkout, encoding: 'utf8' }).split('\n');
  let checked = 0;
  for (const file of files.filter((name) => name !== '' && existsSync(join(checkout, name))))
    for (const words of commandsIn(readFileSync(join(checkout, file), 'utf8'))) {
      t.is(wrongWith(words), undefined, `${file}: ./muster ${words.join(' ')}`);
      checked += 1;
    }
  t.true(checked > 150, `${checked} commands`);
});

test('a command that there is not is noticed', (t) => {
  const wrong = (text: string) => commandsIn(text).map(wrongWith);
  t.deepEqual(wrong('`./muster satus`, `./muster up --yess`, `./muster --env ci drill broker-4-killed`'), [
    'there is no verb satus',
    'up has no option --yess',
    'drill knows no broker-4-killed',
  ]);
  t.deepEqual(wrong('Say `./muster logs api --since 1h`, ./muster dlq list. Or ./muster <verb> --help'), [
    undefined,
    undefined,
    undefined,
  ]);
});
