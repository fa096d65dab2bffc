/** The ways that `./muster trace --last <journey>` knows, and which trace shows one best. Pure. */
import type { Environment } from '../catalog/environments.ts';
import { topics } from '../catalog/topics.ts';
import { isComplete, type JaegerTrace } from '../workers/views/trace-tree.ts';

export interface Journey {
  /** The request that it begins with. */
  readonly begins: string;
  /** The worker and its span that show that the way was gone to its end. */
  readonly ends: { readonly worker: string; readonly operation: string };
  /** In a few words, for the help. */
  readonly what: string;
  /** Verb that makes some. */
  readonly made: string;
}

export const journeys: Readonly<Record<string, Journey>> = {
  promotion: {
    begins: 'POST /purchases',
    ends: { worker: 'promotion-join', operation: `send ${topics.promotion.name}` },
    what: 'from a purchase to topic promotion',
    made: 'traffic --rate 20 --duration 10s',
  },
  coupon: {
    begins: 'POST /coupons/issue',
    ends: { worker: 'coupon-api', operation: 'push coupon-outcome' },
    what: 'from the request of a coupon to the push of its outcome',
    made: 'traffic coupon-rush',
  },
  order: {
    begins: 'POST /orders/:orderId/pay',
    ends: { worker: 'order-ranking', operation: `process ${topics.orderCompleted.name}` },
    what: 'from a payment to the ranking of products',
    made: 'traffic orders',
  },
  outside: {
    begins: 'POST /orders/:orderId/pay',
    ends: { worker: 'outside-events', operation: 'POST /webhooks/payment-completed' },
    what: 'from a payment to the webhook outside',
    made: 'traffic orders',
  },
};

/** Services (as traces name them) in which the worker runs in this environment. */
export function servicesOf(environment: Environment, worker: string): readonly string[] {
  return environment.processes.list.filter(({ workers }) => workers.includes(worker)).map(({ name }) => name);
}

/**
 * The newest trace that is complete and began with the journey's request; else the newest complete one (it may have
 * begun with a log line or a foreign producer), else the newest.
 */
export function bestTrace(traces: readonly JaegerTrace[], { begins }: Journey): JaegerTrace | undefined {
  const newestFirst = [...traces].sort((a, b) => lastMoment(b) - lastMoment(a));
  const complete = newestFirst.filter(isComplete);
  return (
    complete.find(({ spans }) => spans.some(({ operationName }) => operationName === begins)) ??
    complete[0] ??
    newestFirst[0]
  );
}

function lastMoment(trace: JaegerTrace): number {
  return Math.max(...trace.spans.map(({ startTime, duration }) => startTime + duration));
}
