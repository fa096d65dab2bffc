/**
 * What people want of the guard, in its container: `node workers/guard/main.ts failover <member> [--yes-really-lose]`. Exit 0 when
 * the member is the writer, 1 when that was refused (`MUSTER_GUARD_REFUSED: why` on stderr), 64 for a wrong call.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNotes } from './notes.ts';

const answerWithinMs = 60_000;
const tell = (line: string) => process.stderr.write(`${line}\n`);

const [verb, to, flag, ...rest] = process.argv.slice(2);
const folder = process.env.GUARD_DIRECTORY;
if (
  verb !== 'failover' ||
  to === undefined ||
  folder === undefined ||
  rest.length > 0 ||
  (flag !== undefined && flag !== '--yes-really-lose')
) {
  tell('usage: node workers/guard/main.ts failover <member> [--yes-really-lose]');
  process.exitCode = 64;
} else {
  const notes = openNotes(folder);
  const id = randomUUID();
  const deadline = Date.now() + answerWithinMs;
  await notes.setWish({ id, to, lose: flag !== undefined, untilMs: deadline });
  let refused: string | null | undefined;
  while (refused === undefined && Date.now() < deadline) {
    await sleep(100);
    const answer = await notes.answer();
    if (answer?.id === id) ({ refused } = answer);
  }
  if (refused === undefined) refused = 'the guard does not answer';
  if (refused !== null) {
    tell(`MUSTER_GUARD_REFUSED: ${refused}`);
    process.exitCode = 1;
  }
}
