import test from 'ava';
import { eventWalk, nextFile, reaches } from './binlog.ts';

const transactionBegins = 162;

function event(type: number, seconds: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(19 + bodyBytes, 0xa2);
  bytes.writeUInt32LE(seconds, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32LE(bytes.length, 9);
  return bytes;
}

const file = Buffer.concat([
  Buffer.from([0xfe, 0x62, 0x69, 0x6e]),
  event(15, 900, 100),
  event(transactionBegins, 100, 23),
  event(23, 100, 5_000),
  event(transactionBegins, 101, 23),
  // What a transaction did is as old as it likes: only its beginning counts.
  event(23, 500, 40),
  event(transactionBegins, 102, 23),
  event(23, 102, 40),
]);
const third = file.length - (19 + 23) - (19 + 40);

test('a log is walked to the first transaction after the moment, in pieces of any length', (t) => {
  for (const length of [1, 3, 19, 20, 1_000, file.length]) {
    const walk = eventWalk(101_999);
    let found: number | undefined;
    for (let at = 0; at < file.length; at += length) found ??= walk.take(file.subarray(at, at + length));
    t.is(found, third, `in pieces of ${length}`);
  }
});

test('those before a place do not count, and without one there is no place', (t) => {
  const walk = eventWalk(102_000);
  t.is(walk.take(file), undefined);
  t.is(walk.later(), 0);
  const all = eventWalk(0);
  t.true(all.take(file)! < third);
  t.is(all.later(), 3);
  const fromThird = eventWalk(0, third);
  t.is(fromThird.take(file), third);
  t.is(fromThird.later(), 1);
});

test('what lies behind the first one after the moment waits for it, whatever a clock that was set back says', (t) => {
  const ahead = Buffer.concat([
    Buffer.from([0xfe, 0x62, 0x69, 0x6e]),
    event(transactionBegins, 100, 23),
    event(transactionBegins, 3_700, 23),
    event(transactionBegins, 101, 23),
    event(transactionBegins, 102, 23),
  ]);
  const walk = eventWalk(200_000);
  t.is(walk.take(ahead), 4 + 42);
  t.is(walk.later(), 3);
  const all = eventWalk(undefined);
  t.is(all.take(ahead), undefined, 'of all there is nothing is left out');
  t.is(all.later(), 0);
});

test('positions are compared by the number of their file first', (t) => {
  t.is(nextFile('binlog.000099'), 'binlog.000100');
  t.is(nextFile('binlog.999999'), 'binlog.1000000');
  const at = (file: string, position: number) => ({ file, position });
  t.true(reaches(at('binlog.000010', 4), at('binlog.000009', 900)));
  t.true(reaches(at('binlog.000009', 900), at('binlog.000009', 900)));
  t.false(reaches(at('binlog.000009', 899), at('binlog.000009', 900)));
  t.false(reaches(at('binlog.999999', 899), at('binlog.1000000', 4)));
});
