/** What has to be done so that a cluster's topics are as the catalog says. Pure: looks at nothing but its arguments. */
import type { Environment } from '../../catalog/environments.ts';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { replicaAssignment, retryTopics, type Topic, topicConfig } from '../../catalog/topics.ts';
import type { ActualTopic, NewTopic } from '../kafka/topic-admin.ts';

export interface ConfigChange {
  readonly name: string;
  readonly from: string | undefined;
  readonly to: string;
}

export type Step =
  | { readonly kind: 'create'; readonly topic: NewTopic }
  | { readonly kind: 'raise-partitions'; readonly name: string; readonly from: number; readonly to: number }
  | {
      readonly kind: 'alter-config';
      readonly name: string;
      readonly changes: readonly ConfigChange[];
      /** All settings the topic has afterwards: Kafka replaces them as a whole, so foreign ones must be repeated. */
      readonly config: Readonly<Record<string, string>>;
    };

/** A difference that is only reported: to mend it loses data, order or keys, or is nobody's order. */
export interface Drift {
  readonly name: string;
  readonly what: string;
}

export interface TopicPlan {
  readonly steps: readonly Step[];
  readonly drift: readonly Drift[];
}

export interface PlanOptions {
  /** More partitions move keys to other partitions: order and joins break for what is in flight. Only when told to. */
  readonly raisePartitions?: boolean;
}

/** Everything that should exist: the catalog's topics and the retry topics of the groups that retry. */
export function wantedTopics(
  topics: readonly Topic[],
  groups: readonly ConsumerGroup[],
  environment: Environment,
): readonly NewTopic[] {
  const all = [
    ...topics,
    ...groups.flatMap((group) => group.topics.flatMap((topic) => retryTopics(topic, group))),
  ];
  const byName = new Map(all.map((topic) => [topic.name, topic]));
  return [...byName.values()]
    .map((topic) => {
      const assignment = replicaAssignment(topic, environment);
      return {
        name: topic.name,
        partitions: topic.partitions,
        replicationFactor: topic.replicationFactor,
        ...(assignment === undefined ? {} : { assignment }),
        config: topicConfig(topic, environment),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function planTopics(
  wanted: readonly NewTopic[],
  actual: readonly ActualTopic[],
  options: PlanOptions = {},
): TopicPlan {
  const there = new Map(actual.map((topic) => [topic.name, topic]));
  const steps: Step[] = [];
  const drift: Drift[] = [];
  for (const topic of wanted) {
    const present = there.get(topic.name);
    if (present === undefined) {
      steps.push({ kind: 'create', topic });
      continue;
    }
    there.delete(topic.name);
    const { name } = topic;
    if (present.partitions < topic.partitions && options.raisePartitions) {
      steps.push({ kind: 'raise-partitions', name, from: present.partitions, to: topic.partitions });
    } else if (present.partitions !== topic.partitions) {
      const hint =
        present.partitions < topic.partitions
          ? 'run with --raise-partitions to raise them; keys then move to other partitions'
          : 'Kafka cannot lower them';
      drift.push({
        name,
        what: `has ${present.partitions} partitions, the catalog says ${topic.partitions}: ${hint}`,
      });
    }
    if (present.replicationFactor !== topic.replicationFactor) {
      drift.push({
        name,
        what: `has ${present.replicationFactor} copies, the catalog says ${topic.replicationFactor}: reassign its partitions with kafka-reassign-partitions.sh`,
      });
    }
    for (const [partition, replicas] of (topic.assignment ?? []).entries()) {
      const preferred = present.assignment[partition]?.[0];
      if (preferred === undefined || preferred === replicas[0]) continue;
      drift.push({
        name,
        what: `prefers broker ${preferred} as leader of partition ${partition}, the catalog says ${replicas[0]}: reassign it with kafka-reassign-partitions.sh`,
      });
    }
    const changes = Object.entries(topic.config)
      .filter(([key, to]) => present.config[key] !== to)
      .map(([key, to]) => ({ name: key, from: present.config[key], to }));
    if (changes.length > 0) {
      steps.push({ kind: 'alter-config', name, changes, config: { ...present.config, ...topic.config } });
    }
    for (const [key, value] of Object.entries(present.config)) {
      if (!(key in topic.config))
        drift.push({ name, what: `has ${key}=${value}, which the catalog does not name; kept` });
    }
  }
  for (const name of [...there.keys()].sort()) {
    drift.push({ name, what: 'is not in the catalog; left alone' });
  }
  return { steps, drift };
}

/** The plan as lines for people. */
export function describePlan(plan: TopicPlan): readonly string[] {
  const lines = plan.steps.flatMap(describeStep);
  const drift = plan.drift.map(({ name, what }) => `! ${name} ${what}`);
  if (lines.length === 0) lines.push('Topics are as the catalog says; nothing to do.');
  return [...lines, ...drift];
}

function describeStep(step: Step): string[] {
  switch (step.kind) {
    case 'create':
      return [
        `+ create ${step.topic.name}: ${step.topic.partitions} partitions, ${step.topic.replicationFactor} copies${
          step.topic.assignment === undefined
            ? ''
            : `, led by brokers ${step.topic.assignment.map(([leader]) => leader).join(', ')}`
        }`,
        ...Object.entries(step.topic.config).map(([key, value]) => `    ${key} = ${value}`),
      ];
    case 'raise-partitions':
      return [`~ raise partitions of ${step.name}: ${step.from} -> ${step.to}`];
    case 'alter-config':
      return [
        `~ alter ${step.name}`,
        ...step.changes.map(({ name, from, to }) => `    ${name}: ${from ?? '(default)'} -> ${to}`),
      ];
  }
}
