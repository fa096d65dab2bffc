/**
 * JSON log lines on stdout, one object each, with the trace they belong to and without personal data.
 * Redaction happens here, at the only way out, and not where people log.
 */
import { Writable } from 'node:stream';
import { isSpanContextValid, trace } from '@opentelemetry/api';
import winston, { type Logger, type transport } from 'winston';

export type { Logger } from 'winston';

export interface LogOptions {
  /** Name of the process, as in PROCESS_NAME. */
  readonly process: string;
  readonly level: string;
  /** Where lines go; stdout unless a test looks at them. */
  readonly stream?: NodeJS.WritableStream;
  /** Is given each line that is written, too. Must neither wait nor throw. */
  readonly publish?: (line: string, level: string) => void;
}

const levels = winston.config.npm.levels;

/**
 * The process's logger. `log.child({ worker })` names the worker. Pass errors as `{ error }`: code, message, stack
 * and causes are written. A level that is off costs one empty call: nothing is formatted.
 */
export function createLog({ process: processName, level, stream, publish }: LogOptions): Logger {
  const line = winston.format((info) => {
    const { level: infoLevel, message, worker, ...rest } = info;
    // `log.error(error)` makes the error itself the entry.
    const error = info instanceof Error ? info : info.error;
    delete rest.error;
    const context = trace.getActiveSpan()?.spanContext();
    const fields = redact(rest) as Record<string, unknown>;
    // `log.error('text', error)`: winston spreads the error over the entry.
    const stack = fields.stack;
    delete fields.stack;
    const entry = {
      ts: new Date().toISOString(),
      level: infoLevel,
      process: processName,
      ...(worker === undefined ? {} : { worker }),
      message: typeof message === 'string' ? redactText(message) : redact(message),
      ...(context !== undefined && isSpanContextValid(context)
        ? { trace_id: context.traceId, span_id: context.spanId }
        : {}),
      ...fields,
      ...(error === undefined ? (stack === undefined ? {} : { error: { stack } }) : { error: redact(error) }),
    };
    info[Symbol.for('message')] = JSON.stringify(entry, jsonSafe);
    return info;
  });
  const log = winston.createLogger({
    level,
    levels,
    format: line(),
    transports: [
      stream === undefined
        ? new winston.transports.Console({ forceConsole: false })
        : new winston.transports.Stream({ stream }),
      ...(publish === undefined ? [] : [publishing(publish)]),
    ],
    exitOnError: false,
  });
  // winston formats an entry before it looks at the level: replace what is off by nothing.
  const off = function (this: Logger) {
    return this;
  };
  for (const [name, rank] of Object.entries(levels)) {
    if (rank > levels[level]!) (log as unknown as Record<string, unknown>)[name] = off;
  }
  return log;
}

/** Writes nothing. */
export function silentLog(): Logger {
  return winston.createLogger({ silent: true });
}

/** A transport of entries that are formatted already. */
function publishing(publish: (line: string, level: string) => void): transport {
  const stream = new Writable({
    objectMode: true,
    write(entry: Record<string | symbol, unknown>, _encoding, next) {
      publish(String(entry[Symbol.for('message')]), String(entry.level));
      next();
    },
  });
  return new winston.transports.Stream({ stream });
}

const jsonSafe = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);

const mask = '[redacted]';

/** Names whose values never leave, compared without case, `_` and `-`. */
const privateNames = new Set(
  (
    'userid uid userids user memberid customerid buyerid username ' +
    'card cardno cardnumber cardnum pan cvc cvv paymentinfo accountnumber bankaccountnumber ' +
    'password passwd pwd secret clientsecret token accesstoken refreshtoken idtoken apikey privatekey ' +
    'authorization proxyauthorization cookie setcookie pseudonymkey ' +
    'email phone phonenumber mobile'
  ).split(' '),
);
const pseudonym = /^u_[A-Za-z0-9_-]{22}$/;

function isPrivate(name: string): boolean {
  const plain = name.replace(/[^A-Za-z0-9]/g, '').toLowerCase();
  return privateNames.has(plain) || plain.endsWith('password') || plain.endsWith('secret');
}

const maxDepth = 6;
const maxItems = 100;
const maxText = 8_192;

/** A copy of `value` that is safe to write: private fields masked, card numbers masked, size bounded. */
export function redact(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return redactText(value);
    case 'number':
    case 'bigint':
      return isCardNumber(String(value)) ? mask : value;
    case 'object':
      break;
    case 'function':
    case 'symbol':
      return `[${typeof value}]`;
    default:
      return value;
  }
  if (value === null) return null;
  if (depth > maxDepth) return '[deep]';
  if (value instanceof Error) return describeError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) {
    const items = value.slice(0, maxItems).map((item) => redact(item, depth + 1));
    return value.length > maxItems ? [...items, `[${value.length - maxItems} more]`] : items;
  }
  if (value instanceof Map) return redact(Object.fromEntries(value), depth);
  if (value instanceof Set) return redact([...value], depth);
  const copy: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const open =
      field === undefined ||
      field === null ||
      !isPrivate(name) ||
      (typeof field === 'string' && pseudonym.test(field));
    copy[redactText(name)] = open ? redact(field, depth + 1) : mask;
  }
  return copy;
}

function describeError(error: Error, depth: number): Record<string, unknown> {
  const { code, cause } = error as Error & { code?: unknown };
  return {
    name: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: redactText(error.message),
    stack: redactText(error.stack ?? ''),
    ...(cause === undefined ? {} : { cause: redact(cause, depth + 2) }),
  };
}

// 13 to 19 digits in one run, or grouped as cards are printed; not 4-4-12 as in a UUID's tail.
const cardShape = /(?<!\d)(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{5}|\d{13,19})(?!\d)/g;
const namedValue =
  /((?:user|member|customer|buyer)[_-]?id|\buid|card[_-]?(?:number|no)|password|passwd|authorization|cookie|secret|token)(["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|(?:Bearer |Basic )?[^\s,;&})\]]+)/gi;

/** Text with card numbers and `name=value` / `"name":"value"` pairs of private names masked. */
export function redactText(text: string): string {
  const bounded = text.length > maxText ? `${text.slice(0, maxText)}[${text.length - maxText} more]` : text;
  return bounded
    .replace(namedValue, (whole, name: string, sign: string, value: string) =>
      pseudonym.test(value.replace(/["']/g, '')) ? whole : `${name}${sign}${mask}`,
    )
    .replace(cardShape, (run) => (isCardNumber(run) ? mask : run));
}

/** Luhn's check (ISO/IEC 7812-1 annex B) over 13 to 19 digits. */
export function isCardNumber(text: string): boolean {
  const digits = text.replace(/[ -]/g, '');
  if (!/^\d{13,19}$/.test(digits)) return false;
  // 13 digits from 1 are milliseconds since 1970; no card of 13 digits begins with 1.
  if (digits.length === 13 && digits.startsWith('1')) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    let digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    if (i % 2 === 1) {
      digit *= 2;
      if (digit > 9) digit -= 9;
    }
    sum += digit;
  }
  return sum % 10 === 0;
}
