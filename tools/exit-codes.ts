/** What the exit code of ./muster means. The numbers above 63 are those of sysexits.h, so that scripts know them. */

export const exitCodes = {
  ok: { code: 0, meaning: 'done' },
  failed: { code: 1, meaning: 'it ran and the answer is no: something failed or is not healthy' },
  usage: { code: 64, meaning: 'the command line is not understood' },
  unavailable: {
    code: 69,
    meaning: 'something needed is not there: engine, tool, port, disk space, a service',
  },
  internal: { code: 70, meaning: 'a bug of ours; run again with --debug and report it' },
  config: { code: 78, meaning: 'configuration or secrets cannot be used as they are' },
  interrupted: { code: 130, meaning: 'stopped by Ctrl-C or SIGTERM; `up` or `down` recovers' },
} as const;

export type Exit = keyof typeof exitCodes;

/** The codes every verb may end with, beside the ones it names itself. */
const always: readonly Exit[] = ['ok', 'usage', 'internal', 'interrupted'];

/** First match decides. Codes are those of MusterError and of errors that carry a `code`. */
const byCode: readonly (readonly [pattern: RegExp, exit: Exit])[] = [
  [/^MUSTER_INTERRUPTED$/, 'interrupted'],
  [/^(MUSTER_USAGE|MUSTER_ENV_UNKNOWN)/, 'usage'],
  [/^commander\./, 'usage'],
  [/^MUSTER_(SECRETS|CONFIG|HOST_UNKNOWN|NAME_TAKEN|PORT_TAKEN|PLACEMENT|PORT_UNKNOWN)/, 'config'],
  [
    /^MUSTER_(ENGINE|DOCKER|TOOL|TERRAFORM|PORT|DISK|PULL|KAFKA|DATABASE|JAEGER|LOGSTORE|PROMETHEUS|UNAVAILABLE|IMAGE|ARTIFACT|STATE_UNREACHABLE)/,
    'unavailable',
  ],
  [/^MUSTER_/, 'failed'],
];

/** The exit code that an error leads to: by its MUSTER_* code; an error without one is a bug of ours (70). */
export function exitOf(error: unknown): Exit {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code !== 'string') return 'internal';
  return byCode.find(([pattern]) => pattern.test(code))?.[1] ?? 'internal';
}

/** The lines of `--help` that say which exit codes a verb has. */
export function describeExits(own: readonly Exit[]): string {
  const shown = (Object.keys(exitCodes) as Exit[]).filter(
    (exit) => always.includes(exit) || own.includes(exit),
  );
  return shown
    .map((exit) => `  ${String(exitCodes[exit].code).padStart(3)}  ${exitCodes[exit].meaning}`)
    .join('\n');
}
