/** What documents name is there under that name: settings and their defaults, metrics, topics, error codes, files. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { TObject } from 'typebox';
import { checkout } from '../environment/paths.ts';
import { kafkaOnlySettings, platformSettings } from '../workers/base/config.ts';

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: checkout,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && file !== 'package-lock.json' && existsSync(join(checkout, file)));
const textOf = (file: string) => readFileSync(join(checkout, file), 'utf8');
const documents = files.filter((file) => file.endsWith('.md'));
/** Every word of the code. */
const code = new Set(
  files
    .filter((file) => !/\.(md|svg|png|jpg)$/.test(file) && file !== 'tools/names-in-docs.test.ts')
    .flatMap((file) => textOf(file).match(/[A-Za-z_]\w*/g) ?? []),
);
/** What Prometheus and the rules make names of, and names of others. */
const suffix = /_(bucket|sum|count|\d+[smhd])$/;
const foreign = new Set(['innodb_trx', 'pipeThrough', 'XDG_STATE_HOME', 'XDG_CACHE_HOME']);

const upper = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/;
const snake = /^[a-z][a-z0-9]*(_[a-z0-9]+)+$/;
const camel = /^[a-z]+([A-Z][a-z0-9]+)+$/;

/** Names as only code has them: COUPON_LOCK, promo_behavior; between backticks dataDiskBytes, too (a block has variables). */
function namesIn(text: string): readonly string[] {
  const names = [...text.matchAll(/```(\w*)\n([\s\S]*?)```|`([^`\n]+)`/g)]
    .filter(([, language]) => language !== 'mermaid')
    .flatMap(([, , block, quoted]) => {
      // An option of curl, an id, and what is only the end of a name.
      const part = (block ?? quoted!).replaceAll(/(^| )-{1,2}[\w-]+|[\da-f]{6,}-[\da-f-]+|…\w+/g, ' ');
      const words = part.match(/(?<![\w$…<>:-])[A-Za-z]\w*(?![\w…*<-])/g) ?? [];
      const forms = block === undefined ? [upper, snake, camel] : [upper, snake];
      return words.filter((word) => forms.some((form) => form.test(word)));
    });
  return [...new Set(names)];
}

function unknownIn(text: string): readonly string[] {
  return namesIn(text).filter(
    (name) =>
      !code.has(name) &&
      !code.has(name.replace(suffix, '')) &&
      // A field may be written in any of these ways (workers/promotion/standardise.ts folds them).
      !code.has(name.replaceAll('_', '').toLowerCase()) &&
      !foreign.has(name),
  );
}

test('names in documents are names of the code', (t) => {
  let checked = 0;
  for (const file of documents) {
    const text = textOf(file);
    t.deepEqual(unknownIn(text), [], file);
    checked += namesIn(text).length;
  }
  t.true(checked > 300, `${checked} names`);
});

test('a name that is not in the code is noticed, and what is no name is not taken for one', (t) => {
  t.deepEqual(
    unknownIn('Set `COUPON_LOKC`; `kafka_brokers`, `muster_dead_leters_total > 0`, `dataDiscBytes`.'),
    ['COUPON_LOKC', 'muster_dead_leters_total', 'dataDiscBytes'],
  );
  t.deepEqual(unknownIn('In words: not_a_name, `…_current_offset`, `curl -sG --data-urlencode`.'), []);
});

test('files that documents name are there', (t) => {
  for (const file of documents)
    for (const [, path] of textOf(file).matchAll(
      /`((?:alerts|bench|catalog|dashboards|docs|drills|environment|images|stacks|test|tools|workers)\/[\w./-]*\w)`/g,
    ))
      t.true(existsSync(join(checkout, path!)), `${file}: ${path}`);
});

test('where a document gives a setting’s default, the code has the same', async (t) => {
  const settings = new Map<string, unknown>();
  const add = ({ properties }: TObject) => {
    for (const [name, schema] of Object.entries(properties))
      settings.set(name, (schema as { default?: unknown }).default);
  };
  add(kafkaOnlySettings);
  add(platformSettings);
  for (const [, path] of textOf('workers/main.ts').matchAll(/import\('\.(\/[^']*worker\.ts)'\)/g))
    for (const worker of Object.values((await import(join(checkout, 'workers', path!))) as object))
      if ('config' in worker) add((worker as { config: TObject }).config);
  let checked = 0;
  for (const file of documents) {
    for (const [row] of textOf(file).matchAll(/^\| `[A-Z][A-Z0-9_]+`.*$(?!\n\| ?-)/gm)) {
      const [names = '', values = ''] = row.split('|').slice(1);
      const named = [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
      const told = values.split(', ').map((value) => value.trim().replaceAll(/`|(?<=\d),(?=\d{3})/g, ''));
      for (const [index, name] of named.entries()) {
        // A state or a reason; that it is a name of the code at all is tested above.
        if (!settings.has(name)) continue;
        const preset = settings.get(name);
        const expected = preset === undefined ? 'must be set' : preset === '' ? 'none' : String(preset);
        t.is(told[index], expected, `${file}: ${name}`);
        checked += 1;
      }
    }
  }
  t.true(checked > 10, `${checked} settings`);
});
