/** Whether a request is what its route's schema asks for, and how to say what is not. */
import type { TObject, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { fromText } from '../base/config.ts';
import type { ErrorDetail } from './errors.ts';

export interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** At most 20 field errors, one per field, without any value of the request. */
export function validationDetails(errors: readonly SchemaError[]): readonly ErrorDetail[] {
  const details = new Map<string, string>();
  const add = (path: string, reason: string) => {
    const field = path.split('/').filter(Boolean).map(unescapePointer).join('.') || '(root)';
    if (!details.has(field) || reason.startsWith('must be one of')) details.set(field, reason);
  };
  const literals = new Map<string, unknown[]>();
  for (const { keyword, instancePath, params } of errors) {
    if (keyword !== 'const') continue;
    literals.set(instancePath, [...(literals.get(instancePath) ?? []), params.allowedValue]);
  }
  for (const { keyword, instancePath, params, message } of errors) {
    if (keyword === 'required')
      for (const name of params.requiredProperties as string[]) add(`${instancePath}/${name}`, 'is missing');
    else if (keyword === 'additionalProperties')
      for (const name of params.additionalProperties as string[])
        add(`${instancePath}/${String(name).slice(0, 60)}`, 'is not a known field');
    else if (keyword === 'boolean' || keyword === 'const') continue;
    else if (keyword === 'anyOf' && literals.has(instancePath))
      add(instancePath, `must be one of ${literals.get(instancePath)!.join(', ')}`);
    else add(instancePath, message);
  }
  for (const [path, allowed] of literals)
    if (!errors.some((error) => error.keyword === 'anyOf' && error.instancePath === path))
      add(path, `must be ${allowed.join(' or ')}`);
  return [...details].slice(0, 20).map(([field, reason]) => ({ field, reason }));
}

const unescapePointer = (part: string) => part.replace(/~1/g, '/').replace(/~0/g, '~');

/**
 * Validation by the TypeBox compiler. Bodies are checked as they are; texts of the query, the path and the headers are
 * read strictly as the numbers, booleans and literals that the schema asks for.
 */
export function compileValidator({ schema, httpPart }: { schema: unknown; httpPart?: string }) {
  const check = Compile(schema as TSchema);
  const properties = httpPart === 'body' ? undefined : (schema as Partial<TObject>).properties;
  return (value: unknown) => {
    const read = properties === undefined ? value : readTexts(properties, value as Record<string, unknown>);
    return check.Check(read) ? { value: read } : { error: check.Errors(read) as never };
  };
}

function readTexts(properties: Record<string, TSchema>, texts: Record<string, unknown>) {
  const values: Record<string, unknown> = { ...texts };
  for (const [name, property] of Object.entries(properties)) {
    const text = texts[name];
    const preset = (property as { default?: unknown }).default;
    if (typeof text === 'string') values[name] = fromText(property, text);
    else if (text === undefined && preset !== undefined) values[name] = preset;
  }
  return values;
}
