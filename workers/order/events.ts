/** Reads what orders and products say on Kafka. Pure. */
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { orderCompleted, productEvent } from '../../catalog/events/order.ts';
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';

/** The reader of an event: throws MUSTER_EVENT_INVALID, whose message names fields and never values. */
function reader<Schema extends TSchema>(schema: Schema) {
  const check = Compile(schema);
  return ({ value }: Pick<IncomingRecord, 'value'>): Static<Schema> => {
    let data: unknown;
    try {
      data = JSON.parse(String(value));
    } catch {
      throw new MusterError('MUSTER_EVENT_INVALID', 'the value is not JSON');
    }
    if (check.Check(data)) return data as Static<Schema>;
    const fields = [...check.Errors(data)].slice(0, 5).map(({ instancePath }) => instancePath || '(root)');
    throw new MusterError(
      'MUSTER_EVENT_INVALID',
      `not as its schema says: ${[...new Set(fields)].join(', ')}`,
    );
  };
}

export const readOrderCompleted = reader(orderCompleted);
export const readProductEvent = reader(productEvent);
