import test from 'ava';
import { isNotNow, MusterError } from '../base/errors.ts';
import { isLockConflict, translateDatabaseError } from './database-errors.ts';

const said = (errno: number, message = 'said so', code = '') =>
  Object.assign(new Error(message), { errno, code });

for (const [what, error, code] of [
  // As servers say it.
  [
    'the server is read-only',
    said(1290, 'The MySQL server is running with the --read-only option so it cannot execute this statement'),
    'REFUSES',
  ],
  [
    'the server is read-only for all',
    said(1290, 'The MySQL server is running with the --super-read-only option so it cannot execute it'),
    'REFUSES',
  ],
  ['the transaction is read-only', said(1792), 'REFUSES'],
  ['InnoDB is read-only', said(1836), 'REFUSES'],
  ['the disk is full', said(1021), 'REFUSES'],
  ['the disk is full, as the system says it', said(3, 'Error writing file (Errcode: 28)'), 'REFUSES'],
  ['the table is full', said(1114), 'REFUSES'],
  [
    'the engine finds the disk full',
    said(1030, 'Got error 28 "No space left on device" from storage engine InnoDB'),
    'REFUSES',
  ],
  [
    'the commit finds the disk full',
    said(1180, 'Got error 28 "No space left on device" during COMMIT'),
    'REFUSES',
  ],
  ['a lock was not free in time', said(1205), 'REFUSES'],
  ['a deadlock', said(1213), 'REFUSES'],
  ['too many connections', said(1040), 'REFUSES'],
  ['too many connections of this user', said(1203), 'REFUSES'],
  ['the server is going down', said(1053), 'REFUSES'],
  ['MariaDB has cut the connection', said(1927), 'REFUSES'],
  ['MariaDB has cut the statement', said(1969), 'REFUSES'],
  ['MySQL has cut the silent client', said(4031), 'REFUSES'],
  ['a statement was killed', said(1317), 'REFUSES'],
  [
    'a node that is out of its cluster',
    said(1047, 'WSREP has not yet prepared node for application use'),
    'REFUSES',
  ],
  ['nobody listens', said(-111, 'connect ECONNREFUSED', 'ECONNREFUSED'), 'DOWN'],
  ['the connection broke', said(0, 'Connection lost', 'PROTOCOL_CONNECTION_LOST'), 'DOWN'],
  ['no answer in time', said(0, 'Query inactivity timeout', 'PROTOCOL_SEQUENCE_TIMEOUT'), 'DOWN'],
] as const)
  test(`not now: ${what}`, (t) => {
    const translated = translateDatabaseError(error) as MusterError;
    t.true(isNotNow(translated));
    t.is(translated.code, `MUSTER_DATABASE_${code}`);
    t.is(translated.cause, error);
  });

for (const [what, error] of [
  ['a row that is there', said(1062, "Duplicate entry '28' for key 'PRIMARY'", 'ER_DUP_ENTRY')],
  ['a value too long', said(1406)],
  ['a value out of range', said(1264)],
  ['a value of another kind', said(1366)],
  ['a row that is pointed at', said(1451)],
  ['a mistake in the statement', said(1064)],
  ['a table that is not there', said(1146)],
  ['a column that is not there', said(1054)],
  [
    'a file that may not be read',
    said(
      1290,
      'The MySQL server is running with the --secure-file-priv option so it cannot execute this statement',
    ),
  ],
  ['a command that no server knows', said(1047, 'Unknown command')],
  ['a damaged table', said(1030, 'Got error 127 "Record file is crashed" from storage engine Aria')],
  ['a mistake of ours', new TypeError('x is not a function')],
  ['an error that is translated', new MusterError('MUSTER_REFUSED', 'too much')],
] as const)
  test(`never: ${what}`, (t) => {
    const translated = translateDatabaseError(error);
    t.is(translated, error);
    t.false(isNotNow(translated));
  });

test('a login that is refused waits for a person', (t) => {
  const translated = translateDatabaseError(said(1045, 'Access denied', 'ER_ACCESS_DENIED_ERROR'));
  t.is((translated as MusterError).code, 'MUSTER_DATABASE_DENIED');
  t.false(isNotNow(translated));
});

test('what is a conflict of locks is one before and after its translation', (t) => {
  for (const errno of [1205, 1213]) {
    t.true(isLockConflict(said(errno)));
    t.true(isLockConflict(translateDatabaseError(said(errno))));
  }
  t.false(isLockConflict(translateDatabaseError(said(1290, '--read-only'))));
  t.false(isLockConflict(new Error('no')));
});
