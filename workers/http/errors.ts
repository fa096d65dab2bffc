/**
 * The one error format: `{ "error": { "code": "MUSTER_*", "message": "...", "details": [{ "field": "...", "reason": "..." }] } }`.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyError } from 'fastify';
import { Type } from 'typebox';
import { isNotNow, MusterError } from '../base/errors.ts';
import { isCurrency, type Money } from '../base/money.ts';
import type { Refusal } from '../base/refusal.ts';
import { type SchemaError, validationDetails } from './validation.ts';

export interface ErrorDetail {
  readonly field: string;
  readonly reason: string;
}

/** An answer other than 2xx that a route gives on purpose; message and details must hold no personal data. */
export class HttpError extends MusterError {
  readonly status: number;
  readonly details: readonly ErrorDetail[] | undefined;
  constructor(
    status: number,
    code: `MUSTER_${string}`,
    message: string,
    details?: readonly ErrorDetail[],
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.status = status;
    this.details = details;
  }
}

/** The answer to a refusal. */
export const refused = ({ status, code, message, details }: Refusal): HttpError =>
  new HttpError(status, code, message, details);

/** The schema says how a code looks, not which are in use. Throws 422. */
export function inUse(money: Money, field: string): Money {
  if (!isCurrency(money.currency))
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the body is not valid', [
      { field: `${field}.currency`, reason: 'is not an ISO-4217 code in use' },
    ]);
  return money;
}

/** Body of every answer of 400 and above; for the `response` part of route schemas. */
export const errorBody = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ pattern: '^MUSTER_', description: 'stable code' }),
      message: Type.String({ description: 'what is wrong, for people' }),
      details: Type.Optional(
        Type.Array(
          Type.Object({
            field: Type.String({ description: 'path of the field, e.g. items.0.price' }),
            reason: Type.String(),
          }),
        ),
      ),
    }),
  },
  { title: 'Error', description: 'the one error format' },
);

/** For `response` of a route's schema. */
export const failures = { 404: errorBody, 409: errorBody, 422: errorBody, 503: errorBody } as const;

/** What `errorBody` describes. */
export function bodyOf(code: `MUSTER_${string}`, message: string, details?: readonly ErrorDetail[]) {
  return {
    error: { code, message, ...(details === undefined || details.length === 0 ? {} : { details }) },
  };
}

/** What stands against something that was asked before; IN_USE may be sent again in a moment, the others never. */
const conflicts = new Set<string>([
  'MUSTER_DUPLICATE_ID_OTHER_BODY',
  'MUSTER_IDEMPOTENCY_KEY_IN_USE',
  'MUSTER_IDEMPOTENCY_KEY_REUSED',
]);

/** The answer an error becomes. What we did not raise on purpose shows nothing of its inside. */
export function toHttpError(error: Error): HttpError {
  if (error instanceof HttpError) return error;
  const { validation, validationContext, statusCode, code } = error as FastifyError;
  if (validation !== undefined) {
    return new HttpError(
      422,
      'MUSTER_VALIDATION',
      `the ${validationContext === undefined ? 'request' : partNames[validationContext]} is not valid`,
      validationDetails(validation as unknown as readonly SchemaError[]),
    );
  }
  if (error instanceof MusterError) {
    if (conflicts.has(error.code)) return new HttpError(409, error.code, error.message);
    if (isNotNow(error))
      return new HttpError(
        503,
        error.code,
        'a dependency is not available at the moment; try again',
        undefined,
        {
          cause: error,
        },
      );
    return internal(error);
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new HttpError(413, 'MUSTER_BODY_TOO_LARGE', 'the body is longer than the limit of this server');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new HttpError(
        415,
        'MUSTER_UNSUPPORTED_MEDIA_TYPE',
        'the content type is not supported; send application/json',
      );
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is not valid JSON');
    default:
  }
  // Other 4xx of the framework; its messages may quote the request.
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 && code?.startsWith('FST_'))
    return new HttpError(statusCode, 'MUSTER_BAD_REQUEST', 'the request is not valid');
  return internal(error);
}

const internal = (cause: Error) =>
  new HttpError(
    500,
    'MUSTER_INTERNAL',
    'something went wrong here; the trace id in the traceparent header finds it in the logs',
    undefined,
    { cause },
  );

const partNames: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

/** An answer given without the framework. */
export function refuse(response: ServerResponse, { status, code, message, details }: HttpError): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'retry-after': '1' });
  response.end(JSON.stringify(bodyOf(code, message, details)));
}

/** An answer to the bare socket: to what is no HTTP, or asked for another protocol. */
export function refuseSocket(
  socket: Duplex,
  { status, code, message, details }: HttpError,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(bodyOf(code, message, details));
  const lines = Object.entries({
    connection: 'close',
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${text}`);
}
