/**
 * The fields of a foreign record under any of their names, and why a record is refused. Pure. Reasons never hold a value:
 * they go to logs, headers and answers.
 */

export interface Rejection {
  readonly code: `MUSTER_${string}`;
  /** Standard name of the field; empty when the record as a whole is meant. */
  readonly field: string;
  /** A plain sentence without the value. */
  readonly reason: string;
}

export type Standardised<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly rejection: Rejection };

/** Why a value was refused. */
export interface Refusal {
  readonly code: Rejection['code'];
  /** A plain sentence without the value. */
  readonly reason: string;
}

export function rejected(
  code: Rejection['code'],
  field: string,
  reason: string,
): { ok: false; rejection: Rejection } {
  return { ok: false, rejection: { code, field, reason } };
}

interface ReadOptions<T> {
  /** Blank text counts as absent. */
  readonly blankIsAbsent?: boolean;
  /** When two values that came under different names are the same. Default: Object.is. */
  readonly same?: (a: T, b: T) => boolean;
  /** Taken for a field that did not come. */
  readonly fallback?: unknown;
}

/** Reads fields one after the other. After the first that is refused nothing is read any more. */
export interface FieldReader {
  /** The first refusal. */
  readonly problem: { readonly ok: false; readonly rejection: Rejection } | undefined;
  optional<T>(field: string, parse: (value: unknown) => T | Refusal, options?: ReadOptions<T>): T | undefined;
  /** Undefined only together with a problem. */
  required<T>(field: string, parse: (value: unknown) => T | Refusal, options?: ReadOptions<T>): T | undefined;
  refuse(field: string, refusal: Refusal): undefined;
}

/**
 * `names`: standard name of each known name, which is compared without case, `_` and `-`. A field may come under several
 * names as long as all say the same. null counts as absent; what has no known name is left out.
 */
export function readFields(raw: unknown, names: ReadonlyMap<string, string>): FieldReader {
  const given = valuesByName(raw, names);
  let problem: FieldReader['problem'];
  if (given === undefined) problem = rejected('MUSTER_NOT_OBJECT', '', 'the record is not an object');

  const reader: FieldReader = {
    get problem() {
      return problem;
    },
    refuse(field, { code, reason }) {
      problem ??= rejected(code, field, reason);
      return undefined;
    },
    optional(field, parse, { blankIsAbsent = false, same = Object.is, fallback } = {}) {
      if (problem !== undefined) return undefined;
      let result: ReturnType<typeof parse> | undefined;
      for (const value of given!.get(field) ?? (fallback === undefined ? [] : [fallback])) {
        if (blankIsAbsent && typeof value === 'string' && value.trim() === '') continue;
        const parsed = parse(value);
        if (isRefusal(parsed)) return reader.refuse(field, parsed);
        if (result !== undefined && !same(result as typeof parsed, parsed))
          return reader.refuse(field, {
            code: 'MUSTER_FIELD_CONFLICT',
            reason: 'the field came under several names with different values',
          });
        result = parsed;
      }
      return result as Exclude<typeof result, Refusal>;
    },
    required(field, parse, options) {
      const value = reader.optional(field, parse, options);
      return value ?? reader.refuse(field, { code: 'MUSTER_FIELD_MISSING', reason: 'the field is required' });
    },
  };
  return reader;
}

function valuesByName(
  raw: unknown,
  names: ReadonlyMap<string, string>,
): ReadonlyMap<string, readonly unknown[]> | undefined {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return undefined;
  const found = new Map<string, unknown[]>();
  for (const [key, value] of Object.entries(raw)) {
    if (value === null || value === undefined || key.length > 40) continue;
    const name = names.get(key.toLowerCase().replace(/[_-]/g, ''));
    if (name === undefined) continue;
    const values = found.get(name);
    if (values === undefined) found.set(name, [value]);
    else values.push(value);
  }
  return found;
}

function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'reason' in value;
}
