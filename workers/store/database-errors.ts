/**
 * What an error of MySQL 8.4, MariaDB 10.11 or the way to them means: the server is away, it refuses for now whatever it
 * is asked, or what was asked is wrong. Only the last is about the request, and stays true when it is asked again.
 */
import { MusterError, NotNowError } from '../base/errors.ts';

/** Nobody answers, or the answer is lost. */
const away = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR',
]);

/** By number, since MariaDB gives some of MySQL's names to others. */
const refusals: ReadonlySet<number> = new Set([
  // No room on the disk or in a table, or none for what a statement needs on the way. 3 is the system's, "error writing file".
  ...[3, 1021, 1026, 1114, 1206, 3675],
  // Out of memory, threads, connections.
  ...[1037, 1038, 1040, 1041, 1135, 1203, 1226],
  // Read-only: a transaction, InnoDB, the server; offline for maintenance. (1290: see below.)
  ...[1792, 1836, 1874, 3032],
  // Locks that were not free in time, deadlocks, a table or a row that has changed meanwhile.
  ...[1015, 1020, 1205, 1213, 1412, 3572],
  // Going down, or cut off: by an operator, for its silence, for taking too long, for the network.
  ...[1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 1969, 3024, 3169, 4031],
]);

/** Kinds that tell only by their text whether they are of this sort. */
const refusalsByText: ReadonlyMap<number, RegExp> = new Map([
  // An option prevents the statement: --read-only does for a while, --secure-file-priv for ever.
  [1290, /read[-_]only/i],
  // From the storage engine or at the commit, with the system's own number: too many files, read-only or full disk, quota.
  [1030, /\b(24|28|30|122|132|168)\b|No space|read[- ]only/i],
  [1180, /\b(28|30|122|149)\b|No space|read[- ]only|deadlock/i],
  // "WSREP has not yet prepared node for application use": a node of a cluster that is not a part of it just now.
  [1047, /WSREP/],
]);

const denials = new Set(['ER_ACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR', 'ER_BAD_DB_ERROR']);

/** MUSTER_DATABASE_DOWN. */
export function databaseDown(cause: Error): NotNowError {
  return new NotNowError('MUSTER_DATABASE_DOWN', `the database is not available: ${cause.message}`, {
    cause,
  });
}

/**
 * MUSTER_DATABASE_DOWN and MUSTER_DATABASE_REFUSES are not now, MUSTER_DATABASE_DENIED waits for a person; any other error is
 * given back as it is.
 */
export function translateDatabaseError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code = '', errno = 0, message } = error as NodeJS.ErrnoException;
  if (away.has(code) || /closed state|Queue limit/.test(message)) return databaseDown(error);
  if (refusals.has(errno) || refusalsByText.get(errno)?.test(message))
    return new NotNowError('MUSTER_DATABASE_REFUSES', `the database refuses for now: ${message}`, {
      cause: error,
    });
  if (denials.has(code))
    return new MusterError(
      'MUSTER_DATABASE_DENIED',
      'the database refuses the login: check MYSQL_USER, MYSQL_PASSWORD and MYSQL_DATABASE',
      { cause: error },
    );
  return error;
}

/**
 * Whether nothing of what was asked took place because the server takes no writes: another member is about to, most times, and the
 * same again in a moment finds it.
 */
export function isClosedForWrites(error: unknown): boolean {
  const { errno = 0, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  return errno === 1290 && refusalsByText.get(errno)!.test(message);
}

/** Whether a new connection was closed before anything was said: the entrance of the database has nobody to send it to just now. */
export function isTurnedAway(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'PROTOCOL_CONNECTION_LOST' || code === 'ECONNRESET';
}

/** Whether a transaction failed because of others' locks: the same again at once may succeed. */
export function isLockConflict(error: unknown): boolean {
  const { errno } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  return errno === 1213 || errno === 1205 || errno === 1020;
}
