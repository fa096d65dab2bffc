/** Reads the value of an event by its schema. Nothing is repaired, and no error repeats what was read. */
import type { Static, TObject } from 'typebox';
import { Compile } from 'typebox/compile';
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord } from './kafka.ts';
import { jsonOf } from './records.ts';

/**
 * The reader of events of a schema. It throws MUSTER_EMPTY_VALUE, MUSTER_JSON_INVALID or MUSTER_FIELD_INVALID, or for all of
 * them `code`; the message names fields of the schema and never a value.
 */
export function eventReader<Schema extends TObject>(schema: Schema, code?: `MUSTER_${string}`) {
  const check = Compile(schema);
  const { title = 'event' } = schema as { title?: string };
  const fields = new Set(['value', ...Object.keys(schema.properties)]);
  return ({ value }: Pick<IncomingRecord, 'value'>): Static<Schema> => {
    if (value === null) throw new MusterError(code ?? 'MUSTER_EMPTY_VALUE', 'the record has no value');
    let data: unknown;
    try {
      data = jsonOf(value);
    } catch {
      throw new MusterError(code ?? 'MUSTER_JSON_INVALID', 'the value is not JSON');
    }
    if (check.Check(data)) return data as Static<Schema>;
    const wrong = check.Errors(data).map(({ instancePath }) => instancePath.slice(1).replaceAll('/', '.'));
    // The path of an unknown field would repeat what the sender wrote.
    const known = new Set(
      wrong.map((path) => path || 'value').filter((path) => fields.has(path.split('.')[0]!)),
    );
    throw new MusterError(
      code ?? 'MUSTER_FIELD_INVALID',
      `not a ${title}: see ${[...known].slice(0, 5).join(', ') || 'value'}`,
    );
  };
}
