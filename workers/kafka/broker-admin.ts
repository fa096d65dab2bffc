/** What the job live-settings may do to brokers: look at their settings, and change those of all at once, while they run. */
import './kafkajs-patches.ts';
import kafkajs from 'kafkajs';
import { connectionTimeoutMs } from '../../catalog/clients.ts';
import { MusterError } from '../base/errors.ts';
import { openCluster } from './cluster.ts';
import { type DescribedSetting, readResources } from './cluster-answers.ts';
import { apis, clusterAsker } from './cluster-ask.ts';
import type { FlexibleReader, FlexibleWriter } from './flexible-format.ts';
import { untilReachable } from './reachable.ts';
import { openWire } from './wire.ts';

export type { DescribedSetting } from './cluster-answers.ts';

export interface BrokerAdmin {
  /** What is set for all brokers at once, by name. */
  clusterWide(): Promise<ReadonlyMap<string, string>>;
  /** What each broker that is there has in effect, by its id and by name. */
  inEffect(names: readonly string[]): Promise<ReadonlyMap<number, ReadonlyMap<string, DescribedSetting>>>;
  /** Sets for all brokers at once; undefined removes. Rejects with MUSTER_LIVE_SETTINGS when Kafka refuses one: then none is changed. */
  change(settings: ReadonlyMap<string, string | undefined>): Promise<void>;
  close(): Promise<void>;
}

const brokerResource = 4;
/** Stands for all brokers. */
const everyBroker = '';
const operations = { set: 0, remove: 1 } as const;
const requestTimeoutMs = 15_000;

/** Connects, trying for `waitMs`: a job that starts beside the brokers waits for them. MUSTER_KAFKA_UNREACHABLE after that. */
export async function openBrokerAdmin(options: {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly waitMs?: number;
}): Promise<BrokerAdmin> {
  const { brokers, clientId } = options;
  const silent = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
  const logger = silent.logger();
  const wire = openWire({ brokers, clientId, logger, connectionTimeoutMs, requestTimeoutMs });
  const cluster = openCluster(wire);
  const asking = clusterAsker(wire);
  try {
    await untilReachable(brokers, () => cluster.topology(), options.waitMs);
  } catch (error) {
    await cluster.close();
    throw error;
  }
  return {
    async clusterWide() {
      const settings = described(await asking.any(apis.describeConfigs, asks(everyBroker), readResources));
      return new Map([...settings].map(([name, { value }]) => [name, value]));
    },
    async inEffect(names) {
      const { brokers: there } = await cluster.topology();
      const all = there.map(async (id) => {
        const answer = await asking.one(id, apis.describeConfigs, asks(String(id), names), readResources);
        return [id, described(answer)] as const;
      });
      return new Map(await Promise.all(all));
    },
    async change(settings) {
      const [refusal] = await asking.any(apis.incrementalAlterConfigs, changes(settings), readRefusals);
      if (refusal !== undefined)
        throw new MusterError('MUSTER_LIVE_SETTINGS', `Kafka refuses to change settings: ${refusal}`);
    },
    close: () => cluster.close(),
  };
}

/** All settings of the resource, or those named, with synonyms. */
const asks =
  (resource: string, names: readonly string[] | null = null) =>
  (body: FlexibleWriter): void => {
    body
      .array([resource], () =>
        body
          .int8(brokerResource)
          .string(resource)
          .array(names, (name) => body.string(name))
          .end(),
      )
      .bool(true)
      .bool(false);
  };

function described(answer: ReturnType<typeof readResources>) {
  const [resource] = answer;
  if (resource === undefined || resource.error !== 0)
    throw new MusterError(
      'MUSTER_LIVE_SETTINGS',
      `Kafka does not tell its settings: ${resource?.message || `error ${resource?.error ?? 'unknown'}`}`,
    );
  return resource.settings;
}

const changes =
  (settings: ReadonlyMap<string, string | undefined>) =>
  (body: FlexibleWriter): void => {
    body
      .array([everyBroker], (resource) =>
        body
          .int8(brokerResource)
          .string(resource)
          .array(settings, ([name, value]) =>
            body
              .string(name)
              .int8(value === undefined ? operations.remove : operations.set)
              .string(value ?? '')
              .end(),
          )
          .end(),
      )
      .bool(false);
  };

/** What Kafka says against it. */
function readRefusals(body: FlexibleReader): readonly string[] {
  body.int32();
  return Array.from({ length: body.length() }, () => {
    const error = body.int16();
    const message = body.string();
    body.int8();
    body.skipString();
    body.end();
    return error === 0 ? [] : [message || `error ${error}`];
  }).flat();
}
