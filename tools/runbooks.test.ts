import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { execa } from 'execa';
import { ruleGroups } from '../alerts/index.ts';
import { isAlert } from '../alerts/rule.ts';
import { environments } from '../catalog/environments.ts';
import { placements } from '../stacks/config/index.ts';
import { checkout } from './paths.ts';

const folder = join(checkout, 'alerts/runbooks');
const texts = new Map([
  ...readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')] as const),
  ...ruleGroups(environments.dev).flatMap(({ rules }) =>
    rules.filter(isAlert).map(({ name, firstStep }) => [`first step of ${name}`, firstStep] as const),
  ),
]);

const help = new Map<string, Promise<string>>();

/** What `./muster <verb> --help` says; a verb that does not exist fails. */
function helpOf(verb: string): Promise<string> {
  const known = help.get(verb);
  if (known !== undefined) return known;
  const asked = execa('node', ['tools/main.ts', ...verb.split(' ').filter((word) => word !== ''), '--help'], {
    cwd: checkout,
  }).then(({ stdout }) => stdout);
  help.set(verb, asked);
  return asked;
}

/** Every call of ./muster in a text: its words up to a pipe, a quote, or the end of the sentence. */
function calls(text: string): readonly (readonly string[])[] {
  return [...text.matchAll(/\.\/muster((?: +(?:--?)?[\w:.<>=-]*[\w>])*)/g)].map(([, words]) =>
    words!
      .trim()
      .replace(/^--env (dev|ci|prod) /, '')
      .split(/ +/),
  );
}

test('runbooks and first steps call ./muster with verbs and options that it has', async (t) => {
  t.timeout(120_000);
  const all = await helpOf('');
  const verbs = [...all.matchAll(/^ {2}(\w+)(?: |$)/gm)].map(([, verb]) => verb!);
  t.true(verbs.includes('status') && verbs.includes('dlq'), String(verbs));
  let checked = 0;
  for (const [where, text] of texts)
    for (const [verb, ...rest] of calls(text)) {
      t.true(verbs.includes(verb!), `${where}: ./muster ${verb}`);
      const [sub] = rest;
      const of = (await helpOf(verb!)).includes('Commands:') ? `${verb} ${sub}` : verb!;
      const known = await helpOf(of);
      for (const option of rest.filter((word) => word.startsWith('-')))
        t.regex(
          known,
          new RegExp(`(^|[ ,])${option}\\b`, 'm'),
          `${where}: ./muster ${verb} ${rest.join(' ')}`,
        );
      checked += 1;
    }
  t.true(checked > 80, `${checked} calls`);
});

test('an option that does not exist is noticed', async (t) => {
  t.timeout(60_000);
  t.deepEqual(calls('run `./muster logs api --grep x | tail` and ./muster status: look'), [
    ['logs', 'api', '--grep', 'x'],
    ['status'],
  ]);
  t.notRegex(await helpOf('logs'), /--grep/);
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
