/** Worker `promotion-api`: the HTTP inputs and the streams for consumers. */
import { Compile } from 'typebox/compile';
import { type EnrichedPurchase, enrichedPurchase } from '../../catalog/events/promotion.ts';
import { topics } from '../../catalog/topics.ts';
import type { Worker, WorkerDeps } from '../platform/worker.ts';
import { type Activity, activityOf } from './activity.ts';
import { createFeed, type Feed } from './feed.ts';
import { inputSettings, standardise } from './inputs.ts';
import { registerInputRoutes, registerStreamRoutes } from './routes.ts';
import { parseJson } from './standardise.ts';
import { createTimeline } from './timeline.ts';
import { openView } from './view.ts';

/** How long an event may wait for an earlier one of the same user. */
const reorderDelayMs = 1_000;
const isEnriched = Compile(enrichedPurchase);

export const worker: Worker<typeof inputSettings> = {
  name: 'promotion-api',
  consumes: [],
  reads: [topics.purchase, topics.promoBehavior, topics.purchaseEnriched],
  produces: [topics.purchase, topics.promoBehavior],
  config: inputSettings,
  async start({ config, http, kafka, log, secrets }) {
    const producer = await kafka.producer('promotion-api');
    const activity = activityFeed({ kafka, secrets, timeZone: config.TIME_ZONE });
    const enriched = enrichedFeed({ kafka });
    registerInputRoutes(http, { producer, timeZone: config.TIME_ZONE });
    registerStreamRoutes(http, { activity, enriched });
    log.info('takes in purchases and acts', { timeZone: config.TIME_ZONE });
    return {
      ready: () => true,
      async stop() {
        await Promise.all([activity.close(), enriched.close()]);
        await producer.close();
      },
    };
  },
};

/** Both inputs, masked and merged in order of time per user. */
export function activityFeed({
  kafka,
  secrets,
  timeZone,
}: Pick<WorkerDeps, 'kafka' | 'secrets'> & { readonly timeZone: string }): Feed<Activity> {
  return createFeed<Activity>({
    keep: 5_000,
    lingerMs: 30_000,
    async start(emit, fail) {
      const timeline = createTimeline<Activity>({
        delayMs: reorderDelayMs,
        maxHeld: 50_000,
        rememberMs: 600_000,
      });
      const pass = (released: ReturnType<typeof timeline.advance>) => {
        for (const { item, late } of released) emit(late ? { ...item, late } : item);
      };
      const timer = setInterval(() => pass(timeline.advance(performance.now())), 50);
      try {
        const view = await openView({
          kafka,
          name: 'promotion-activity',
          topics: [topics.purchase.name, topics.promoBehavior.name],
          sinceMs: Date.now(),
          onRecord({ topic, partition, offset, value }) {
            // What cannot be understood goes to the dead letters by the join's hand; here it only is no activity.
            const decoded = parseJson(value);
            if (!decoded.ok) return;
            const result = standardise(
              topic === topics.purchase.name ? 'purchase' : 'promo_behavior',
              decoded.value,
              { timeZone, fallbackId: `${topic}-${partition}-${offset}` },
            );
            if (!result.ok) return;
            const item = activityOf(secrets.pseudonymKey, result.value);
            pass(
              timeline.push(
                {
                  user: item.user,
                  timeMs: Date.parse(item.at),
                  rank: item.kind === 'purchase' ? 1 : 0,
                  item,
                },
                performance.now(),
              ),
            );
          },
          onFatal: fail,
        });
        return async () => {
          clearInterval(timer);
          await view.stop();
        };
      } catch (error) {
        clearInterval(timer);
        throw error;
      }
    },
  });
}

/** Enriched purchases as they are published, corrections included. */
export function enrichedFeed({ kafka }: Pick<WorkerDeps, 'kafka'>): Feed<EnrichedPurchase> {
  return createFeed<EnrichedPurchase>({
    keep: 5_000,
    lingerMs: 30_000,
    async start(emit, fail) {
      const view = await openView({
        kafka,
        name: 'promotion-enriched',
        topics: [topics.purchaseEnriched.name],
        sinceMs: Date.now(),
        onRecord({ value }) {
          const decoded = parseJson(value);
          if (decoded.ok && isEnriched.Check(decoded.value)) emit(decoded.value);
        },
        onFatal: fail,
      });
      return () => view.stop();
    },
  });
}
