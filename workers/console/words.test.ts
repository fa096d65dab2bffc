/** The page's texts: each has a translation, and no translation is left of a text that has gone. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { promises } from '../../catalog/promises.ts';

const folder = join(import.meta.dirname, 'page');
const sources = readdirSync(folder)
  .filter((name) => name.endsWith('.js') && name !== 'words.js' && name !== 'korean.js')
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
// A script of the page: tsc does not look at those.
const script: string = join(folder, 'korean.js');
const { korean, koreanOfData } = (await import(script)) as Readonly<
  Record<'korean' | 'koreanOfData', Readonly<Record<string, string>>>
>;

const said = /\bsay`((?:[^`$]|\$\{[^{}`]*\})*)`/g;
const keyOf = (text: string) => {
  let at = 0;
  return text.replace(/\$\{[^{}`]*\}/g, () => `{${at++}}`);
};
const keysIn = (text: string) => [...text.matchAll(said)].map(([, inside]) => keyOf(inside!));
const valuesIn = (text: string) => [...text.matchAll(/\{\d+\}/g)].map(([value]) => value).sort();

test('each text that a room says is there in Korean', (t) => {
  for (const { name, text } of sources) {
    t.is(
      [...text.matchAll(said)].length,
      text.split('say`').length - 1,
      `${name}: values in texts are simple`,
    );
    t.deepEqual(
      keysIn(text).filter((key) => !Object.hasOwn(korean, key)),
      [],
      name,
    );
  }
});

test('a translation has the values of its text, and a text', (t) => {
  const keys = new Set(sources.flatMap(({ text }) => keysIn(text)));
  t.true(keys.size > 100, `${keys.size} texts`);
  for (const [english, translated] of Object.entries(korean)) {
    t.deepEqual(valuesIn(translated), valuesIn(english), english);
    t.true(keys.has(english), english);
  }
});

test('what is promised, and what the tabs are called, is there in Korean', (t) => {
  const shell = sources.find(({ name }) => name === 'app.js')!.text;
  const titles = [...shell.matchAll(/\btitle: '([^']+)'/g)].map(([, title]) => title!);
  t.true(titles.length >= 3);
  const all = { ...korean, ...koreanOfData };
  for (const english of [...titles, ...promises.flatMap(({ promised, ids }) => [promised, ids])])
    t.true(Object.hasOwn(all, english), english);
});
