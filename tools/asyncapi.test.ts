import test from 'ava';
import { parse } from 'yaml';
import { allGroups } from '../catalog/groups.ts';
import { allTopics } from '../catalog/topics.ts';
import { asyncapi, renderCatalog } from './asyncapi.ts';

type Json = Record<string, unknown>;

/** Every `$ref` in a document. */
function references(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : references(inner),
  );
}

/** What a JSON pointer of the document points at. */
function resolve(document: unknown, reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((at, step) => (at as Json | undefined)?.[step], document);
}

test('the document has the shape that AsyncAPI 3.0 asks for', (t) => {
  const document = asyncapi('1.2.3') as Record<string, Record<string, Json>>;
  t.is(document.asyncapi as unknown, '3.0.0');
  t.is(document.info?.version as unknown, '1.2.3');
  for (const [name, server] of Object.entries(document.servers!)) {
    t.regex(name, /^[A-Za-z0-9_-]+$/);
    t.is(server.protocol, 'kafka');
    t.is(typeof server.host, 'string');
  }
  for (const channel of Object.values(document.channels!)) {
    t.is(typeof channel.address, 'string');
    t.true(Object.keys(channel.messages as Json).length > 0);
  }
  for (const operation of Object.values(document.operations!)) {
    t.true(['send', 'receive'].includes(String(operation.action)));
    t.regex(String((operation.channel as Json).$ref), /^#\/channels\//);
  }
  const components = document.components as unknown as Record<string, Record<string, Json>>;
  for (const message of Object.values(components.messages!)) t.truthy(message.payload);
});

test('every reference of the document leads somewhere', (t) => {
  const document = asyncapi('1');
  const all = references(document);
  t.true(all.length > 10);
  t.deepEqual(
    all.filter((reference) => resolve(document, reference) === undefined),
    [],
  );
});

test('every topic is a channel and every group receives from its topics', (t) => {
  const document = asyncapi('1') as { channels: Json; operations: Json };
  t.deepEqual(
    Object.keys(document.channels),
    allTopics.map(({ name }) => name),
  );
  for (const group of allGroups)
    for (const topic of group.topics) t.true(`${group.id}.receive.${topic.name}` in document.operations);
});

test('the rendered YAML reads back as the same document, without aliases', (t) => {
  const yaml = renderCatalog('1').get('asyncapi.yaml')!;
  t.deepEqual(parse(yaml), JSON.parse(JSON.stringify(asyncapi('1'))));
  t.notRegex(yaml, /: [&*][a-z]/);
});

test('schemas of events are plain JSON Schema with an id of their own', (t) => {
  const schema = JSON.parse(renderCatalog('1').get('schemas/Purchase.json')!) as Json;
  t.is(schema.$id, 'Purchase.json');
  t.is(schema.type, 'object');
  t.true((schema.required as string[]).includes('purchaseId'));
});

test('the pages name every topic and group', (t) => {
  const files = renderCatalog('1');
  for (const { name } of allTopics) t.true(files.get('topics.md')!.includes(`\`${name}\``));
  for (const { id } of allGroups) t.true(files.get('groups.md')!.includes(`\`${id}\``));
});
