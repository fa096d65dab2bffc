/** Brings a cluster's topics to what the catalog says, after printing what that takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { allGroups } from '../../catalog/groups.ts';
import { allTopics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { type NewTopic, openTopicAdmin, type TopicAdmin } from '../kafka/topic-admin.ts';
import {
  describePlan,
  type PlanOptions,
  planTopics,
  type Step,
  type TopicPlan,
  wantedTopics,
} from './plan.ts';

export interface TopicsOptions extends PlanOptions {
  readonly brokers: readonly string[];
  readonly environment: Environment;
  readonly print: (line: string) => void;
  /** Unset: those of the catalog. */
  readonly wanted?: readonly NewTopic[];
}

/** Prints the plan and changes nothing. */
export async function showPlan(options: TopicsOptions): Promise<TopicPlan> {
  return withAdmin(options, (admin) => printedPlan(admin, options));
}

/** Prints the plan and carries it out. Rejects with MUSTER_TOPICS_APPLY when a step fails; doing it again is safe. */
export async function applyPlan(options: TopicsOptions): Promise<TopicPlan> {
  return withAdmin(options, async (admin) => {
    const wanted = wantedOf(options);
    await brokersFor(admin, wanted);
    const plan = await printedPlan(admin, options);
    for (const step of plan.steps) {
      try {
        await carryOut(admin, step);
      } catch (error) {
        const name = step.kind === 'create' ? step.topic.name : step.name;
        throw new MusterError('MUSTER_TOPICS_APPLY', `${step.kind} ${name} failed: ${reasonOf(error)}`, {
          cause: error,
        });
      }
    }
    if (plan.steps.length > 0) {
      await settled(admin, options);
      options.print(`Done: ${plan.steps.length} changes.`);
    }
    return plan;
  });
}

/**
 * Brokers learn of a change one after the other, and any of them may answer the next question: a change is done when
 * several answers in a row show it. Rejects with MUSTER_TOPICS_APPLY when they still differ after 30 s.
 */
async function settled(admin: TopicAdmin, options: TopicsOptions): Promise<void> {
  const giveUpAt = Date.now() + 30_000;
  for (let inARow = 0; inARow < 6; ) {
    const left = planTopics(wantedOf(options), await admin.describe(), options).steps;
    inARow = left.length === 0 ? inARow + 1 : 0;
    if (Date.now() > giveUpAt) {
      const names = left.map((step) => (step.kind === 'create' ? step.topic.name : step.name));
      throw new MusterError(
        'MUSTER_TOPICS_APPLY',
        `brokers do not yet show the changes of ${names.join(', ')}`,
      );
    }
    await sleep(50);
  }
}

async function withAdmin<T>(options: TopicsOptions, work: (admin: TopicAdmin) => Promise<T>): Promise<T> {
  const admin = await openTopicAdmin({ brokers: options.brokers, clientId: 'muster-topics' });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

function wantedOf(options: TopicsOptions): readonly NewTopic[] {
  return options.wanted ?? wantedTopics(allTopics, allGroups, options.environment);
}

async function printedPlan(admin: TopicAdmin, options: TopicsOptions): Promise<TopicPlan> {
  const plan = planTopics(wantedOf(options), await admin.describe(), options);
  for (const line of describePlan(plan)) options.print(line);
  return plan;
}

/** A cluster that is still coming up has too few brokers for the copies: wait for them rather than fail. */
async function brokersFor(admin: TopicAdmin, wanted: readonly NewTopic[]): Promise<void> {
  const needed = Math.max(0, ...wanted.map(({ replicationFactor }) => replicationFactor));
  const giveUpAt = Date.now() + 60_000;
  for (;;) {
    const count = await admin.brokerCount();
    if (count >= needed) return;
    if (Date.now() > giveUpAt) {
      throw new MusterError(
        'MUSTER_TOPICS_APPLY',
        `${needed} copies need ${needed} brokers; ${count} are there`,
      );
    }
    await sleep(1_000);
  }
}

async function carryOut(admin: TopicAdmin, step: Step): Promise<void> {
  switch (step.kind) {
    case 'create':
      return admin.create([step.topic]);
    case 'raise-partitions':
      return admin.raisePartitions(step.name, step.to);
    case 'alter-config':
      return admin.replaceConfig(step.name, step.config);
  }
}

function reasonOf(error: unknown): string {
  const errors = (error as { errors?: readonly Error[] }).errors;
  return errors?.length ? errors.map(({ message }) => message).join('; ') : (error as Error).message;
}
