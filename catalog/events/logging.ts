/** A line of a process's log. */
import { Type } from 'typebox';

/** Topic `my.logging.out.stdout`: the line as it is on stdout, without personal data. Other fields are what the line is about. */
export const logLine = Type.Object(
  {
    ts: Type.String({ description: 'when it was written, ISO-8601 UTC with ms' }),
    level: Type.String({ description: 'error, warn, info, http, verbose or debug' }),
    process: Type.String({ description: 'name of the process' }),
    worker: Type.Optional(Type.String({ description: 'name of the worker in it' })),
    message: Type.Unknown({ description: 'what happened; text but for programs that log something else' }),
    trace_id: Type.Optional(Type.String({ description: 'W3C trace that it belongs to' })),
    span_id: Type.Optional(Type.String()),
    error: Type.Optional(Type.Unknown({ description: 'name, code, message, stack and causes' })),
    cutFrom: Type.Optional(
      Type.Integer({ description: 'length of the whole line, when only its main fields are here' }),
    ),
  },
  { $id: 'LogLine', title: 'LogLine', additionalProperties: true },
);
