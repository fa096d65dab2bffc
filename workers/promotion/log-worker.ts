/** Worker `promotion-log`: log files as input. */
import { Type } from 'typebox';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { counter, gauge } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { type InputKind, inputDeadLetter, inputRecord, inputSettings, standardise } from './inputs.ts';
import { createLogFollower, type LogFolder } from './log-follower.ts';
import { parseJson } from './standardise.ts';

const config = Type.Object({
  LOG_INBOX_DIRECTORY: Type.String({
    minLength: 1,
    default: '/var/log/muster/inbox',
    description: 'directory with the folders purchase and promo_behavior',
  }),
  LOG_STATE_DIRECTORY: Type.String({
    minLength: 1,
    default: '/var/lib/muster/log-follower',
    description: 'where the checkpoint is kept',
  }),
  ...inputSettings.properties,
});

/** Longer than the producer's own tries: a send that is given up here comes again. */
const sendDeadlineMs = 30_000;

export const worker: Worker<typeof config> = {
  name: 'promotion-log',
  consumes: [],
  produces: [topics.purchase, topics.promoBehavior, topics.purchaseDlq, topics.promoBehaviorDlq],
  config,
  async start({ config, fail, kafka, log, metrics: registry }) {
    const producer = await kafka.producer('promotion-log');
    const lines = counter(registry, metrics.promotion.logLines);
    const lagBytes = gauge(registry, metrics.promotion.logFileLagBytes);
    const told = new Map<string, number>();
    const follower = createLogFollower({
      directory: config.LOG_INBOX_DIRECTORY,
      stateDirectory: config.LOG_STATE_DIRECTORY,
      folders: [inputFolder('purchase', config.TIME_ZONE), inputFolder('promo_behavior', config.TIME_ZONE)],
      send: (records) => producer.send(records, { deadlineMs: sendDeadlineMs }),
      onLines: (topic, result, count) => lines.inc({ topic, result }, count),
      onLagBytes: (topic, bytes) => lagBytes.set({ topic }, bytes),
      onProblem(message, error) {
        // The same trouble comes with every round.
        const kind = message.replace(/\d+/g, '');
        if (Date.now() - (told.get(kind) ?? 0) < 10_000) return;
        if (told.size > 100) told.clear();
        told.set(kind, Date.now());
        log.warn(message, { error });
      },
    });
    follower.run().catch(fail);
    log.info('follows log files', { directory: config.LOG_INBOX_DIRECTORY });
    return {
      ready: follower.healthy,
      async stop() {
        await follower.stop();
        await producer.close();
      },
    };
  },
};

/** Lines of one input: standardised to its topic, or with the reason to its dead letters. */
export function inputFolder(kind: InputKind, timeZone: string, now: () => number = Date.now): LogFolder {
  return {
    name: kind,
    toRecord(bytes, origin) {
      const dead = (code: string, reason: string, cut?: boolean) => ({
        record: inputDeadLetter(
          kind,
          bytes,
          { code, reason },
          { id: origin.id, source: origin.source, nowMs: now(), ...(cut === undefined ? {} : { cut }) },
        ),
        result: 'dead_letter' as const,
      });
      if (origin.kind === 'too-long') {
        return dead('MUSTER_LINE_TOO_LONG', 'the line is longer than 1 MiB; this is its beginning', true);
      }
      const decoded = parseJson(bytes);
      const result = decoded.ok
        ? standardise(kind, decoded.value, { timeZone, fallbackId: origin.id })
        : decoded;
      if (!result.ok) {
        const { code, field, reason } = result.rejection;
        return dead(code, field === '' ? reason : `${field}: ${reason}`);
      }
      return {
        record: inputRecord(kind, result.value, {
          id: origin.id,
          source: '/muster/promotion-log',
          nowMs: now(),
        }),
        result: 'published',
      };
    },
  };
}
