/** The deployed environment that the end-to-end tests run on, from the variables `./muster test e2e` sets. */
import { environmentNamed } from '../catalog/environments.ts';
import { type Container, containersOf, docker } from '../environment/docker.ts';
import { writerOf } from '../environment/guard.ts';
import type { IncomingRecord, Kafka } from '../workers/kafka/kafka.ts';
import { eventually } from '../workers/kafka/testing.ts';

/** A variable of the run; throws when the test is run in another way. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '')
    throw new Error(`${name} is not set: these tests run by ./muster test e2e`);
  return value;
}

export const environment = environmentNamed(setting('MUSTER_ENV'));
export const apiUrl = setting('MUSTER_API_URL');
/** Of an operator, who may call for anybody. */
export const apiToken = setting('MUSTER_API_TOKEN');
export const asOperator = { authorization: `Bearer ${apiToken}` } as const;

/** The end of each partition of a topic, to read from later. */
export type Ends = ReadonlyMap<number, number>;

export async function endsOf(kafka: Kafka, topic: string): Promise<Ends> {
  return new Map((await kafka.admin.offsets(topic)).map(({ partition, high }) => [partition, high]));
}

/** All records of a topic from these ends up to its present ones. */
export async function recordsSince(
  kafka: Kafka,
  topic: string,
  from: Ends,
): Promise<readonly IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  for (const { partition, high } of await kafka.admin.offsets(topic))
    for await (const chunk of kafka.read(topic, partition, from.get(partition) ?? 0, high))
      records.push(...chunk);
  return records;
}

/** A container by its name in the environment; `mysql`: the member that takes writes. Throws when there is none. */
export async function containerOf(called: string): Promise<Container> {
  let alias = called;
  if (called === 'mysql')
    await eventually(
      'a member of MySQL takes writes',
      async () => {
        const writer = await writerOf(environment).catch(() => undefined);
        alias = writer ?? called;
        return writer !== undefined;
      },
      60_000,
    );
  const name = `${environment.prefix}-${alias}`;
  const container = (await containersOf(environment)).find((one) => one.name === name);
  if (container === undefined) throw new Error(`there is no ${alias}`);
  return container;
}

export async function isHealthy(alias: string): Promise<boolean> {
  const { state, health } = await containerOf(alias);
  return state === 'running' && health === 'healthy';
}

/** Kills a container's process without asking it and starts it again, as a machine does that loses power. */
export async function crash(alias: string): Promise<void> {
  await docker(['restart', '--time', '0', (await containerOf(alias)).id]);
}
