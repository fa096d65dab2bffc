/**
 * Worker `promises`: checks what is promised (catalog/promises.ts) on the live stores and topics, and says of each promise
 * whether it holds. Capabilities hand their checks over: workers/main.ts puts them together.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { orderPayWithinSeconds } from '../../catalog/contract.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { type PromiseName, promiseRunbook, promises } from '../../catalog/promises.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import { databaseSettings } from '../base/config.ts';
import type { Logger } from '../base/log.ts';
import { counter, gauge } from '../base/metrics.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import type { Check, CheckDeps } from '../platform/checks.ts';
import type { Worker } from '../platform/worker.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { type Clock, type PromiseState, type Watch, watchPromises } from './watch.ts';

const config = Type.Object({
  ...databaseSettings.properties,
  LOG_STORE_URL: Type.String({ pattern: '^https?://[^\\s]+$', description: 'base address of VictoriaLogs' }),
  ORDER_PAY_WITHIN_S: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: orderPayWithinSeconds,
    description: 'seconds that an order waits for its payment; as its API has it',
  }),
});

const stopWithinMs = 5_000;

/** A maker for each promise of the catalog. */
type AllChecks = Readonly<
  Record<PromiseName, (deps: CheckDeps, promise: (typeof promises)[number]) => Check>
>;

const clock: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

export function promisesWorker(checks: AllChecks): Worker<typeof config> {
  return {
    name: 'promises',
    consumes: [],
    produces: [],
    config,
    async start({ config: settings, database, redis, kafka, http, log, metrics: registry, secrets }) {
      const broken = gauge(registry, names.promises.broken);
      const checkedTime = gauge(registry, names.promises.checkedTime);
      const seconds = counter(registry, names.promises.checkSeconds);
      for (const { name } of promises) checkedTime.set({ promise: name }, 0);
      const tell = teller(log);
      const others = new Map<DatabaseName, Kysely<unknown>>();
      const open = (name: DatabaseName) => {
        const db = others.get(name) ?? openDatabase({ settings: databaseOf(settings, name), connections: 1 });
        others.set(name, db);
        return db;
      };
      const deps: CheckDeps = {
        database: async (name = 'shop') => (name === 'shop' ? database() : open(name)),
        redis,
        kafka,
        pseudonymKey: secrets.pseudonymKey,
        logStoreUrl: settings.LOG_STORE_URL,
        payWithinMs: settings.ORDER_PAY_WITHIN_S * 1_000,
      };
      const watch = watchPromises({
        clock,
        checks: promises.map((promise) => {
          const check = checks[promise.name](deps, promise);
          return {
            promise,
            async check() {
              const beganMs = performance.now();
              try {
                return await check();
              } finally {
                seconds.inc({ promise: promise.name }, (performance.now() - beganMs) / 1_000);
              }
            },
          };
        }),
        onEvidence(state) {
          const label = { promise: state.promise.name };
          broken.set(label, state.broken);
          checkedTime.set(label, state.checkedAtMs! / 1_000);
          tell.evidence(state);
        },
        onFailure: ({ name }, error) => tell.failure(name, error),
      });
      registerRoute(http, watch);
      return {
        ready: watch.tried,
        waitingFor: () => 'the first check of each promise',
        // A store that hangs is not waited for.
        async stop() {
          await Promise.race([watch.stop(), sleep(stopWithinMs, undefined, { ref: false })]);
          await Promise.all([...others.values()].map((db) => db.destroy()));
        },
      };
    },
  };
}

/** Says it once when a promise breaks, is mended, or cannot be checked. */
function teller(log: Logger) {
  const said = new Map<string, string>();
  const changes = (name: string, to: string) => {
    const before = said.get(name);
    said.set(name, to);
    return before !== to && !(before === undefined && to === 'holds');
  };
  return {
    evidence({ promise, status, broken, ids }: PromiseState): void {
      if (!changes(promise.name, status)) return;
      if (status === 'broken') log.error('a promise is broken', { promise: promise.name, broken, ids });
      else log.info('the promise holds', { promise: promise.name });
    },
    failure(name: string, error: unknown): void {
      if (changes(name, 'unchecked')) log.warn('a promise could not be checked', { promise: name, error });
    },
  };
}

const time = (description: string) =>
  Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description });

const stateBody = Type.Object(
  {
    name: Type.String(),
    capability: Type.String(),
    promised: Type.String(),
    status: Type.Enum(['holds', 'broken', 'not checked'] as const, {
      description: '`not checked`: what was seen last is too old to say anything of now',
    }),
    checkedAt: time('when the last check began that could say anything'),
    broken: Type.Integer({ description: 'of how many it was not true then, counted up to some limit' }),
    ids: Type.Array(Type.String(), { description: 'the first of them' }),
    brokenSince: time('since when the oldest of them breaks it'),
    why: Type.Union([Type.String(), Type.Null()], { description: 'why it is not checked' }),
    runbook: Type.String({ description: 'what to do' }),
  },
  { title: 'PromiseState' },
);

function registerRoute(http: FastifyInstance, watch: Watch): void {
  http.get(
    '/promises',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'What is promised, and whether it holds now',
        tags: ['promises'],
        querystring: Type.Object({
          name: Type.Optional(Type.String({ maxLength: 100, description: 'only this one' })),
        }),
        response: { 200: Type.Object({ promises: Type.Array(stateBody) }), 404: errorBody, 422: errorBody },
      },
    },
    async (request) => {
      const { name } = request.query as { name?: string };
      const states = watch.states().filter(({ promise }) => name === undefined || promise.name === name);
      if (states.length === 0) throw new HttpError(404, 'MUSTER_NOT_FOUND', 'there is no such promise');
      return { promises: states.map(shown) };
    },
  );
}

const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

function shown({ promise, status, checkedAtMs, broken, ids, brokenSinceMs, why }: PromiseState) {
  return {
    name: promise.name,
    capability: promise.capability,
    promised: promise.promised,
    status,
    checkedAt: iso(checkedAtMs),
    broken,
    ids,
    brokenSince: iso(brokenSinceMs),
    why: why ?? null,
    runbook: promiseRunbook,
  };
}
