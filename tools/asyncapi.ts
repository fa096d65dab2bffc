/** The catalog as an AsyncAPI 3.0 document, as pages for people and as JSON Schemas. Pure. */
import type { TSchema } from 'typebox';
import { stringify } from 'yaml';
import { type Environment, environments } from '../catalog/environments.ts';
import { allGroups } from '../catalog/groups.ts';
import { allTopics, type Topic, topicConfig } from '../catalog/topics.ts';
import { brokersOutside } from '../stacks/config/index.ts';

type Json = Record<string, unknown>;

/** A TypeBox schema as plain JSON Schema, without its $id (which would redirect references inside a document). */
function plain(schema: TSchema): Json {
  const { $id: _, ...rest } = JSON.parse(JSON.stringify(schema)) as Json;
  return rest;
}

/** Event types by name; two topics may carry the same one. */
function events(): ReadonlyMap<string, TSchema> {
  return new Map(
    allTopics.flatMap((topic) => eventsOf(topic).map(({ type, schema }) => [type, schema] as const)),
  );
}

const eventsOf = ({ event, otherEvents = [] }: Topic) => (event === undefined ? [] : [event, ...otherEvents]);

const cloudEventHeaders: Json = {
  type: 'object',
  description:
    'CloudEvents 1.0, Kafka protocol binding, binary mode. A producer without headers is welcome on input topics.',
  properties: {
    ce_specversion: { type: 'string', const: '1.0' },
    ce_id: { type: 'string', description: 'identifies the message; consumers drop repeats by it' },
    ce_type: { type: 'string' },
    ce_source: { type: 'string' },
    ce_time: { type: 'string', format: 'date-time' },
    'content-type': { type: 'string', const: 'application/json' },
    traceparent: { type: 'string', description: 'W3C Trace Context' },
  },
};

const rawMessage = 'DeadLetter';
const messagesOf = (topic: Topic) =>
  topic.event === undefined ? [rawMessage] : eventsOf(topic).map(({ type }) => type);

/** The AsyncAPI 3.0 document as an object: a channel a topic, a send operation a topic, a receive operation a group and topic. */
export function asyncapi(version: string): Json {
  const shown = environments.dev;
  const channel = (topic: Topic): Json => ({
    address: topic.name,
    title: topic.name,
    description: `${topic.description} Key: ${topic.key}.`,
    messages: Object.fromEntries(
      messagesOf(topic).map((type) => [type, { $ref: `#/components/messages/${type}` }]),
    ),
    bindings: {
      kafka: {
        topic: topic.name,
        partitions: topic.partitions,
        replicas: topic.replicationFactor,
        topicConfiguration: kafkaBinding(topic, shown),
        bindingVersion: '0.5.0',
      },
    },
    tags: [{ name: topic.owner }],
  });
  const sends = allTopics.map((topic) => [
    `send.${topic.name}`,
    {
      action: 'send',
      channel: { $ref: `#/channels/${pointer(topic.name)}` },
      summary: `${topic.owner} writes ${topic.name}.`,
    },
  ]);
  const receives = allGroups.flatMap((group) =>
    group.topics.map((topic) => [
      `${group.id}.receive.${topic.name}`,
      {
        action: 'receive',
        channel: { $ref: `#/channels/${pointer(topic.name)}` },
        summary: group.description,
        bindings: { kafka: { groupId: { type: 'string', enum: [group.id] }, bindingVersion: '0.5.0' } },
      },
    ]),
  );
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'muster',
      version,
      description:
        'Every topic, event and consumer group of muster. Written by ./muster render from catalog/: do not edit.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: Object.fromEntries(
      Object.values(environments).map((environment) => [
        environment.name,
        {
          host: brokersOutside(environment),
          protocol: 'kafka',
          description: `bootstrap brokers of environment ${environment.name}`,
        },
      ]),
    ),
    channels: Object.fromEntries(allTopics.map((topic) => [topic.name, channel(topic)])),
    operations: Object.fromEntries([...sends, ...receives]),
    components: {
      messages: {
        ...Object.fromEntries(
          [...events().keys()].map((type) => [
            type,
            {
              name: type,
              title: type,
              contentType: 'application/json',
              headers: { $ref: '#/components/schemas/CloudEventHeaders' },
              payload: { $ref: `#/components/schemas/${type}` },
            },
          ]),
        ),
        [rawMessage]: {
          name: rawMessage,
          title: 'A record that could not be understood or handled, byte for byte as it came',
          contentType: 'application/octet-stream',
          headers: { $ref: '#/components/schemas/DeadLetterHeaders' },
          payload: {},
        },
      },
      schemas: {
        CloudEventHeaders: cloudEventHeaders,
        DeadLetterHeaders: {
          type: 'object',
          required: ['muster-error-code', 'muster-error-reason', 'muster-source'],
          properties: {
            'muster-error-code': { type: 'string' },
            'muster-error-reason': { type: 'string', description: 'never holds personal data' },
            'muster-source': { type: 'string', description: 'topic-partition-offset' },
            'muster-failed-at': { type: 'string', format: 'date-time' },
            'muster-group': { type: 'string' },
          },
        },
        ...Object.fromEntries([...events()].map(([type, schema]) => [type, plain(schema)])),
      },
    },
  };
}

/** The topic settings that the Kafka binding of AsyncAPI knows. */
function kafkaBinding(topic: Topic, environment: Environment): Json {
  const config = topicConfig(topic, environment);
  return {
    'cleanup.policy': [config['cleanup.policy']],
    'retention.ms': Number(config['retention.ms']),
  };
}

/** Escapes a name for use in a JSON pointer. */
function pointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

const made = '<!-- Written by ./muster render from catalog/: do not edit. -->\n\n';
const cell = (text: string) => text.replaceAll('|', '\\|');

function days(ms: number): string {
  const hours = ms / 3_600_000;
  return hours % 24 === 0 ? `${hours / 24} d` : `${hours} h`;
}

function topicsPage(): string {
  const retention = (topic: Topic): string =>
    Object.values(environments)
      .map(
        (environment) =>
          `${environment.name} ${days(Number(topicConfig(topic, environment)['retention.ms']))}`,
      )
      .join(', ');
  const row = (topic: Topic): string =>
    `| \`${topic.name}\` | ${topic.partitions} | ${topic.replicationFactor} | ${topic.minInsyncReplicas} | ${retention(topic)} | ${cell(topic.key)} | ${
      eventsOf(topic)
        .map(({ type }) => `[${type}](schemas/${type}.json)`)
        .join(', ') || 'raw bytes'
    } | ${topic.owner} | ${cell(topic.description)} |`;
  return `${made}# Topics\n\n| topic | partitions | copies | min in sync | retention | key | event | owner | what it is |\n|---|---|---|---|---|---|---|---|---|\n${allTopics.map(row).join('\n')}\n`;
}

function groupsPage(): string {
  const rows = allGroups.map(
    (group) =>
      `| \`${group.id}\` | ${group.topics.map(({ name }) => `\`${name}\``).join(', ')} | ${group.lagSecondsHigh} s | ${group.retryDelaysMs.length === 0 ? 'none: straight to the dead letters' : group.retryDelaysMs.map((ms) => `${ms / 1000} s`).join(', ')} | ${group.owner} | ${cell(group.description)} |`,
  );
  return `${made}# Consumer groups\n\n| group | reads | lag that alarms | retries after | owner | what it does |\n|---|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

/** Files of build/catalog/: path -> text. */
export function renderCatalog(version: string): ReadonlyMap<string, string> {
  const schemas = [...events()].map(([type, schema]) => {
    const document = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      $id: `${type}.json`,
      ...plain(schema),
    };
    return [`schemas/${type}.json`, `${JSON.stringify(document, null, 2)}\n`] as const;
  });
  return new Map([
    [
      'asyncapi.yaml',
      `# Written by ./muster render from catalog/: do not edit.\n${stringify(asyncapi(version), { lineWidth: 0, aliasDuplicateObjects: false })}`,
    ],
    ['topics.md', topicsPage()],
    ['groups.md', groupsPage()],
    ...schemas,
  ]);
}
