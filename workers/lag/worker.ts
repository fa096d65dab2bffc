/**
 * Worker `lag`: how far every consumer group of the cluster is behind, in records and in seconds, under the names of
 * kafka_exporter. Needs nothing but brokers to ask (docs/lag.md), whoever runs the groups.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { Type } from 'typebox';
import { allGroups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { addMetricText, counter, durationHistogram, gauge } from '../base/metrics.ts';
import { errorBody } from '../http/errors.ts';
import type { Worker } from '../platform/worker.ts';
import { ClusterState } from './cluster-state.ts';
import { clusterBody, clusterView } from './cluster-view.ts';
import { lagMetricText } from './exposition.ts';
import { createPass } from './pass.ts';

const pattern = (byDefault: string, description: string) =>
  Type.String({ regularExpression: true, default: byDefault, description });

const config = Type.Object({
  LAG_CYCLE_MS: Type.Integer({
    minimum: 500,
    maximum: 600_000,
    default: 5_000,
    description: 'longest time between the beginnings of two passes; a scrape causes one too',
  }),
  LAG_TOPICS: pattern('.*', 'topics to watch: a regular expression, anywhere in the name'),
  LAG_TOPICS_EXCLUDE: pattern('^__', 'topics to leave out of those'),
  LAG_GROUPS: pattern('.*', 'groups to watch: a regular expression, anywhere in the id'),
  LAG_GROUPS_EXCLUDE: pattern('^$', 'groups to leave out of those'),
  LAG_EXPECTED: Type.String({
    pattern: '^[^,\\s]*(,[^,\\s]+)*$',
    default: '',
    description:
      'groups of the catalog that must be there, separated by commas: they lag before their first commit, too',
  }),
  LAG_ALLOWED: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 0,
    description: 'records of lag up to which a group counts as caught up in the verdict',
  }),
  LAG_WINDOW_MS: Type.Integer({
    minimum: 1_000,
    maximum: 86_400_000,
    default: 120_000,
    description: 'window of the verdict; longer than twice the longest pause between commits',
  }),
  LAG_READS: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 100,
    description: 'most records a pass that are read for their timestamps',
  }),
});

const retentionEveryMs = 60_000;
/** What disappears may have been out of sight only: a group's coordinator moves within some seconds. */
const goneAfterMs = 15_000;
/** A scrape takes values as old as this; for newer ones it waits this long. */
const freshMs = 1_000;

export const worker: Worker<typeof config> = {
  name: 'lag',
  consumes: [],
  produces: [],
  kafkaOnly: true,
  // Grown it was 164 instead of 140 MiB resident at 1,000 partitions x 50 groups, and no pass was shorter for it.
  staysSmall: true,
  config,
  async start({ config, kafka, http, log, metrics: registry }) {
    // Each pass and each scrape leaves garbage of many times what stays. V8 would let the heap grow to twice of that
    // before it looks (measured on 1,000 partitions x 50 groups: 166 MB resident, with this 130 MB).
    setFlagsFromString('--heap-growing-percent=20');
    const startedMs = Date.now();
    const cluster = kafka.cluster();
    const state = new ClusterState({
      allowedLag: config.LAG_ALLOWED,
      windowMs: config.LAG_WINDOW_MS,
      sampleMs: config.LAG_WINDOW_MS / 10,
      goneAfterMs,
      expected: expectedTopics(config.LAG_EXPECTED),
    });
    const pass = createPass(cluster, state, {
      includesTopic: filter(config.LAG_TOPICS, config.LAG_TOPICS_EXCLUDE),
      includesGroup: filter(config.LAG_GROUPS, config.LAG_GROUPS_EXCLUDE),
      reads: config.LAG_READS,
      retentionEveryMs,
    });

    const duration = durationHistogram(registry, metrics.lag.cycleDuration);
    const failures = counter(registry, metrics.lag.cycleFailures);
    const requests = gauge(registry, metrics.lag.cycleRequests);
    let wholeAtMs: number | undefined;
    let passed = false;
    const ageSeconds = () => (Date.now() - (wholeAtMs ?? startedMs)) / 1_000;
    addMetricText(registry, {
      /** What is shown is what is so at the scrape, unless the cluster is slow to answer: then it is the last pass. */
      async refresh() {
        if (running === undefined && performance.now() - beganMs < freshMs) return;
        const waited = new AbortController();
        await Promise.race([
          cycle(),
          sleep(freshMs, undefined, { signal: waited.signal }).catch(() => undefined),
        ]);
        waited.abort();
      },
      *write() {
        const age = ageSeconds().toFixed(3);
        yield `# HELP ${metrics.lag.age} Seconds since everything shown was read from the cluster.\n`;
        yield `# TYPE ${metrics.lag.age} gauge\n${metrics.lag.age} ${age}\n`;
        yield* lagMetricText(state);
      },
    });

    // What it shows /metrics shows, too, to anyone.
    http.get(
      '/cluster',
      {
        config: { callers: 'anyone' },
        schema: {
          summary: 'Brokers, topics with their partitions, groups with their lag, as of the last pass',
          tags: ['lag'],
          response: { 200: clusterBody, 503: errorBody },
        },
      },
      () => {
        if (!passed) throw new NotNowError('MUSTER_CLUSTER_UNREAD', 'the cluster was not read yet');
        return clusterView(state, ageSeconds(), Date.now());
      },
    );

    let lastProblems = '';
    let beganMs = Number.NEGATIVE_INFINITY;
    let running: Promise<void> | undefined;

    /** One pass at a time: who comes while one is on its way waits for it. */
    function cycle(): Promise<void> {
      running ??= onePass().finally(() => {
        running = undefined;
      });
      return running;
    }

    async function onePass(): Promise<void> {
      beganMs = performance.now();
      let problems: readonly string[];
      try {
        ({ problems } = await pass());
        passed = true;
      } catch (error) {
        problems = [`topology: ${(error as Error).message}`];
      }
      duration.observe({}, (performance.now() - beganMs) / 1_000);
      requests.reset();
      for (const [broker, count] of cluster.takeRequestCounts())
        requests.set({ broker: String(broker) }, count);
      if (problems.length === 0) wholeAtMs = Date.now();
      else failures.inc();
      // A broker that is down for an hour is said once, and so is its return.
      const said = [...problems].sort().join('; ');
      if (said !== lastProblems) {
        if (said === '') log.info('the whole cluster answers again');
        else log.warn('a part of the cluster could not be read; its last values stay', { problems });
      }
      lastProblems = said;
    }

    const stopping = new AbortController();
    async function run(): Promise<void> {
      while (!stopping.signal.aborted) {
        const waitMs = beganMs + config.LAG_CYCLE_MS - performance.now();
        if (waitMs <= 0) await cycle();
        else await sleep(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
    const ended = run();

    return {
      ready: () => passed,
      waitingFor: () => 'the first pass over the cluster',
      async stop() {
        stopping.abort();
        await cluster.close();
        await ended;
      },
    };
  },
};

/** The topics of groups of the catalog. Throws MUSTER_GROUP_UNKNOWN. */
function expectedTopics(ids: string): ReadonlyMap<string, readonly string[]> {
  return new Map(
    ids
      .split(',')
      .filter((id) => id !== '')
      .map((id) => {
        const group = allGroups.find((each) => each.id === id);
        if (group === undefined)
          throw new MusterError(
            'MUSTER_GROUP_UNKNOWN',
            `LAG_EXPECTED names ${id}, which is not in the catalog`,
          );
        return [id, group.topics.map(({ name }) => name)];
      }),
  );
}

function filter(include: string, exclude: string): (name: string) => boolean {
  const included = new RegExp(include);
  const excluded = new RegExp(exclude);
  return (name) => included.test(name) && !excluded.test(name);
}
