import test from 'ava';
import fc from 'fast-check';
import { cutLines, type LogLine } from './log-lines.ts';

const limits = { maxLineBytes: 20, keepBytes: 4, maxLines: 1_000, final: false };
const show = (lines: readonly LogLine[]) =>
  lines.map(({ kind, offset, bytes }) => [kind, offset, bytes.toString('latin1')]);

test('lines end with LF or CRLF; what has no end yet stays', (t) => {
  const cut = cutLines(Buffer.from('one\r\ntwo\n\nthr'), { offset: 100, skipping: false }, limits);
  t.deepEqual(show(cut.lines), [
    ['line', 100, 'one'],
    ['line', 105, 'two'],
    ['line', 109, ''],
  ]);
  t.is(cut.consumed, 10);
  t.false(cut.skipping);
});

test('at the end of a finished file the last line needs no end', (t) => {
  const cut = cutLines(Buffer.from('one\ntwo'), { offset: 0, skipping: false }, { ...limits, final: true });
  t.deepEqual(show(cut.lines), [
    ['line', 0, 'one'],
    ['line', 4, 'two'],
  ]);
  t.is(cut.consumed, 7);
});

test('a byte order mark is left out at the start of a file only', (t) => {
  const bytes = Buffer.from('\u{feff}a\n\u{feff}b\n');
  t.deepEqual(show(cutLines(bytes, { offset: 0, skipping: false }, limits).lines)[0], ['line', 0, 'a']);
  t.is(cutLines(bytes, { offset: 5, skipping: false }, limits).lines[0]!.bytes.length, 4);
});

test('a line that is too long is cut, and passed over up to its end', (t) => {
  const first = cutLines(Buffer.from(`ok\n${'x'.repeat(30)}`), { offset: 0, skipping: false }, limits);
  t.deepEqual(show(first.lines), [
    ['line', 0, 'ok'],
    ['too-long', 3, 'xxxx'],
  ]);
  t.true(first.skipping);
  const second = cutLines(Buffer.from('xxxx'), { offset: 33, skipping: true }, limits);
  t.deepEqual(second, { lines: [], consumed: 4, skipping: true });
  const third = cutLines(Buffer.from('xx\nnext\n'), { offset: 37, skipping: true }, limits);
  t.deepEqual(show(third.lines), [['line', 40, 'next']]);
  t.false(third.skipping);
});

test('a hole of NULs before a line is not part of it; at the end it stays, as it may still be filled', (t) => {
  const bytes = Buffer.concat([Buffer.alloc(5), Buffer.from('a\n'), Buffer.alloc(3)]);
  const cut = cutLines(bytes, { offset: 0, skipping: false }, limits);
  t.deepEqual(show(cut.lines), [['line', 5, 'a']]);
  t.is(cut.consumed, 7);
});

test('wherever a file is split into reads, the lines and offsets are the same', (t) => {
  const content = fc
    .array(fc.oneof(fc.string({ maxLength: 30 }), fc.constant('\r'), fc.constant('\u{feff}')), {
      maxLength: 20,
    })
    .map((lines) => Buffer.from(lines.map((line) => `${line.replace(/\n|\0/g, '')}\n`).join('')));
  fc.assert(
    fc.property(content, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (bytes, steps) => {
      const whole = cutLines(bytes, { offset: 0, skipping: false }, limits);
      const pieces: LogLine[] = [];
      let offset = 0;
      let skipping = false;
      let visible = 0;
      for (let i = 0; visible < bytes.length || offset < bytes.length; i += 1) {
        visible = Math.min(bytes.length, visible + steps[i % steps.length]!);
        const cut = cutLines(bytes.subarray(offset, visible), { offset, skipping }, limits);
        pieces.push(...cut.lines);
        offset += cut.consumed;
        skipping = cut.skipping;
      }
      if (JSON.stringify(show(pieces)) !== JSON.stringify(show(whole.lines))) {
        throw new Error(`${JSON.stringify(show(pieces))} is not ${JSON.stringify(show(whole.lines))}`);
      }
    }),
  );
  t.pass();
});
