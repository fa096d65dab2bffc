import { context, propagation } from '@opentelemetry/api';

/** W3C context of the work that runs now; undefined: it is not traced. */
export function traceparentNow(): string | undefined {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent;
}
