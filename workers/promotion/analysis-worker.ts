/** Worker `promotion-analysis`: how people of each age band react to promotions, over sliding windows. */
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { ageBands, enrichedPurchase } from '../../catalog/events/promotion.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { gauge } from '../base/metrics.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import type { Worker } from '../platform/worker.ts';
import {
  createReactionAnalysis,
  longestWindowMs,
  type ReactionAnalysis,
  type ReactionSample,
  type ReactionWindow,
  reactionSamples,
  reactionWindows,
} from './analysis.ts';
import { parseFilter } from './filter.ts';
import { inputSettings } from './inputs.ts';
import { parseJson, standardisePromoBehavior } from './standardise.ts';
import { openView, type View } from './view.ts';

/** Promotions that metrics show by name. */
const topPromotions = 50;
const windowNames = Object.keys(reactionWindows) as ReactionWindow[];
const isEnriched = Compile(enrichedPurchase);

export const worker: Worker<typeof inputSettings> = {
  name: 'promotion-analysis',
  consumes: [],
  reads: [topics.purchaseEnriched, topics.promoBehavior],
  produces: [],
  config: inputSettings,
  async start({ config, fail, http, kafka, log, metrics: registry }) {
    const analysis = createReactionAnalysis();
    let view: View | undefined;
    const ready = () => view?.caughtUp() === true;
    registerReactionRoute(http, analysis, ready);
    registerReactionMetrics(registry, analysis);
    view = await openView({
      kafka,
      name: 'promotion-analysis',
      topics: [topics.purchaseEnriched.name, topics.promoBehavior.name],
      sinceMs: Date.now() - longestWindowMs,
      // It counts by the minute.
      gatherMs: 500,
      onRecord: (record) => take(analysis, record, config.TIME_ZONE, Date.now()),
      onFatal: fail,
    });
    log.info('reads the last 15 minutes');
    const opened = view;
    return { ready, stop: () => opened.stop() };
  },
};

/** Counts a record of either topic; what is not valid is not counted (the join gives it to the dead letters). */
export function take(
  analysis: ReactionAnalysis,
  record: Pick<IncomingRecord, 'topic' | 'value'>,
  timeZone: string,
  nowMs: number,
): void {
  const decoded = parseJson(record.value);
  if (!decoded.ok) return;
  if (record.topic === topics.purchaseEnriched.name) {
    const value: unknown = decoded.value;
    if (!isEnriched.Check(value)) return;
    analysis.purchase(
      {
        purchaseId: `${value.user}:${value.purchaseId}`,
        version: value.version,
        timeMs: Date.parse(value.purchasedAt),
        ageBand: value.ageBand,
        promotionIds: value.promotions.map(({ promotionId }) => promotionId),
      },
      nowMs,
    );
    return;
  }
  const act = standardisePromoBehavior(decoded.value, { timeZone });
  if (!act.ok) return;
  analysis.act(
    {
      userId: act.value.userId,
      promotionId: act.value.promotionId,
      action: act.value.action,
      timeMs: Date.parse(act.value.actedAt),
      ageBand: act.value.ageBand ?? 'unknown',
    },
    nowMs,
  );
}

const ratio = (description: string) => Type.Union([Type.Number(), Type.Null()], { description });
const reactionFields = {
  purchases: Type.Integer({ description: 'all purchases in the window' }),
  affected: Type.Integer({ description: 'those that the promotion affected' }),
  acts: Type.Integer({ description: 'clicks and views of the promotion' }),
  affectedPerPurchase: ratio('affected / purchases; null without purchases'),
  affectedPerAct: ratio(
    'affected / acts; null without acts; above 1 when acts lead to several purchases each',
  ),
};
const reactionByBand = {
  ...reactionFields,
  ageBands: Type.Array(
    Type.Object({ ageBand: Type.Union(ageBands.map((band) => Type.Literal(band))), ...reactionFields }),
  ),
};

/** `GET /promotions/reactions`. Errors: 422 for a query that is not valid, 503 while the last 15 minutes are being read. */
export function registerReactionRoute(
  http: FastifyInstance,
  analysis: ReactionAnalysis,
  ready: () => boolean,
  now: () => number = Date.now,
): void {
  http.get(
    '/promotions/reactions',
    {
      validatorCompiler: () => (value: unknown) => ({ value }),
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Reaction to promotions by age band',
        description:
          'Over a sliding window of event time that ends now (resolution 5 s). Each purchase counts once, with its latest version.',
        tags: ['promotion analysis'],
        querystring: Type.Object({
          window: Type.Optional(
            Type.Union(
              windowNames.map((name) => Type.Literal(name)),
              { default: '5m', description: 'how far back' },
            ),
          ),
          promotion: Type.Optional(
            Type.String({ description: 'promotion ids (repeated or a comma list); all when absent' }),
          ),
          limit: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 1000,
              default: 100,
              description: 'most promotions, the most affecting first',
            }),
          ),
        }),
        response: {
          200: Type.Object({
            window: Type.String(),
            from: Type.String({ description: 'ISO-8601 UTC' }),
            until: Type.String({ description: 'ISO-8601 UTC' }),
            total: Type.Object(reactionByBand, { description: 'any promotion' }),
            promotions: Type.Array(Type.Object({ promotion: Type.String(), ...reactionByBand })),
          }),
          422: errorBody,
          503: errorBody,
        },
      },
    },
    async (request) => {
      const query = request.query as Record<string, unknown>;
      const window = query.window ?? '5m';
      const limit = query.limit === undefined ? 100 : Number(query.limit);
      const parsed = parseFilter({ promotion: query.promotion });
      const problems = [
        ...(parsed.ok ? [] : parsed.problems),
        ...(windowNames.includes(window as ReactionWindow)
          ? []
          : [{ field: 'window', reason: `must be one of ${windowNames.join(', ')}` }]),
        ...(Number.isInteger(limit) && limit >= 1 && limit <= 1000
          ? []
          : [{ field: 'limit', reason: 'must be an integer from 1 to 1000' }]),
      ];
      if (!parsed.ok || problems.length > 0) {
        throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid', problems);
      }
      if (!ready()) {
        throw new HttpError(503, 'MUSTER_NOT_READY', 'the last 15 minutes are still being read; try again');
      }
      const report = analysis.report(reactionWindows[window as ReactionWindow], now());
      const { promotion } = parsed.filter;
      return {
        window,
        from: new Date(report.fromMs).toISOString(),
        until: new Date(report.untilMs).toISOString(),
        total: report.total,
        promotions: report.promotions
          .filter((row) => promotion === undefined || promotion.has(row.promotion))
          .slice(0, limit),
      };
    },
  );
}

/** Gauges by promotion (the top 50, "other" for the rest, "all" for any), age band and window; computed at each scrape. */
export function registerReactionMetrics(
  registry: Registry,
  analysis: ReactionAnalysis,
  now: () => number = Date.now,
): void {
  let samples: readonly (ReactionSample & { readonly window: string })[] = [];
  let takenAtMs = Number.NEGATIVE_INFINITY;
  const fresh = () => {
    const nowMs = now();
    if (nowMs - takenAtMs >= 1_000) {
      takenAtMs = nowMs;
      samples = windowNames.flatMap((window) =>
        reactionSamples(analysis.report(reactionWindows[window], nowMs), topPromotions).map((sample) => ({
          ...sample,
          window,
        })),
      );
    }
    return samples;
  };
  for (const [name, field] of [
    [metrics.promotion.reactionPurchases, 'purchases'],
    [metrics.promotion.reactionAffected, 'affected'],
    [metrics.promotion.reactionActs, 'acts'],
  ] as const) {
    gauge(registry, name, (one) => {
      one.reset();
      for (const { promotion, ageBand, window, [field]: value } of fresh())
        one.set({ promotion, age_band: ageBand, window }, value);
    });
  }
}
