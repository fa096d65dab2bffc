import test from 'ava';
import {
  acted,
  contains,
  decide,
  isBlind,
  type Look,
  type Memory,
  type Note,
  noMemory,
  patience,
  remember,
  servingMember,
} from './decide.ts';
import { live } from './world.fixture.ts';

const seeds = Number(process.env.GUARD_SEEDS ?? 1_000);

test(`in ${seeds} worlds of crashes, freezes, cuts, lost disks and changes by hand nothing acked is lost, and one writer is left`, (t) => {
  let acked = 0;
  let handovers = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const lived = live(seed, 60_000);
    acked += lived.acked.size;
    handovers += lived.handovers;
    if (lived.broken.length > 0) {
      t.log(lived.story.join('\n'));
      t.fail(`seed ${seed}: ${lived.broken.join('; ')}`);
      return;
    }
  }
  t.log(`${acked} acked, ${handovers} times another writer`);
  t.true(handovers > seeds, 'or little was tried');
});

for (const [bug, what] of [
  ['restarted-counts', 'counts one that was started anew as a copy'],
  ['release-first', 'lets the writer go on alone before it is noted'],
  ['no-drain', 'opens the other one before it has applied what it has'],
  ['half-drain', 'opens the other one when it cannot apply what it has'],
] as const)
  test(`a guard that ${what} is caught`, (t) => {
    const caught = Array.from({ length: 600 }, (_, index) => index + 1).find(
      (seed) => live(seed, 60_000, { bug }).broken.length > 0,
    );
    t.log(`by seed ${caught}`);
    t.not(caught, undefined);
  });

const members = ['mysql-1', 'mysql-2'] as const;
const empty: Look = {
  start: 100,
  serverId: 1,
  open: false,
  waits: true,
  log: new Map(),
  blank: true,
  followers: 0,
  waiting: 0,
  acks: 0,
  follows: undefined,
};
const has = (...log: readonly [number, number][]): Partial<Look> => ({ log: new Map(log), blank: false });
const following = { source: 'mysql-1', receiving: true, applying: true, stopped: false, broken: false };

/** What is decided when both have looked like this for ten seconds. */
function decided(
  note: Note | undefined,
  one: Partial<Look> | undefined,
  two: Partial<Look> | undefined,
  known: Partial<Memory> = {},
) {
  const looks = {
    'mysql-1': one === undefined ? undefined : { ...empty, ...one },
    'mysql-2': two === undefined ? undefined : { ...empty, serverId: 2, ...two },
  };
  let seen = noMemory(members, 0);
  for (let nowMs = 0; nowMs <= 10_000; nowMs += 1_000) seen = remember(seen, note, looks, nowMs);
  const memory = { ...seen, ...known };
  return { next: decide(note, memory, 10_000), serving: servingMember(note, memory) };
}
const writer: Note = { writer: 'mysql-1', serverId: 1, copy: 100, heir: false };
const alone: Note = { ...writer, copy: null };

test('a log contains another one that is as long or shorter for each server that wrote', (t) => {
  t.true(contains(new Map([[1, 5]]), new Map()));
  t.true(
    contains(
      new Map([
        [1, 5],
        [2, 9],
      ]),
      new Map([[1, 5]]),
    ),
  );
  t.false(contains(new Map([[1, 5]]), new Map([[1, 6]])));
  t.false(contains(new Map([[2, 9]]), new Map([[1, 1]])));
});

test('without a note who has what the other has is the writer, and nobody is when each has more', (t) => {
  const chosen = (one: Partial<Look>, two: Partial<Look>) => {
    const { next } = decided(undefined, one, two);
    return next.kind === 'note' ? next.note.writer : next.kind;
  };
  t.is(chosen({}, {}), 'mysql-1', 'both are empty');
  t.is(chosen(has([1, 5]), {}), 'mysql-1');
  t.is(chosen({}, has([2, 5])), 'mysql-2');
  t.is(chosen(has([1, 4]), has([1, 4], [2, 5])), 'mysql-2');
  t.is(chosen({ log: new Map(), blank: false }, {}), 'mysql-1', 'what was restored has no log yet');
  t.is(chosen(has([1, 4]), { ...has([1, 4]), open: true }), 'mysql-2', 'it is the writer already');
  t.is(chosen(has([1, 6]), has([1, 5], [2, 6])), 'wait');
  t.is(chosen({ log: new Map(), blank: false }, { log: new Map(), blank: false }), 'wait');
});

test('without a note a person may say who is the writer, and that the rest is lost', (t) => {
  const wish = { to: 'mysql-2', lose: true, sinceMs: 9_000 };
  const by = (own: typeof wish) => decided(undefined, undefined, has([1, 5]), { wish: own }).next;
  t.like(by(wish), { kind: 'note', note: { writer: 'mysql-2', copy: null, heir: false } });
  t.is(by({ ...wish, lose: false }).kind, 'refuse');
  t.is(decided(undefined, has([1, 6]), undefined, { wish }).next.kind, 'wait', 'it does not answer');
  t.is(by({ ...wish, sinceMs: 10_000 - patience.wishMs }).kind, 'refuse', 'it took too long');
});

test('a writer whose disk was replaced is not opened: the copy takes over at once', (t) => {
  const copy = { ...has([1, 5]), follows: following };
  t.like(decided(writer, { serverId: 7 }, copy).next, { kind: 'note', note: { heir: true } });
  t.like(decided(alone, { serverId: 7 }, copy).next, { kind: 'wait' }, 'without a copy a person decides');
});

test('one that was opened and may not write is closed before anything else', (t) => {
  t.like(decided(writer, undefined, { ...has([1, 5]), open: true }).next, { action: 'fence', on: 'mysql-2' });
});

test('clients are sent to the writer alone, while it is open, and to nobody in between', (t) => {
  const open = { ...has([1, 5]), open: true };
  t.is(decided(writer, open, has([1, 5])).serving, 'mysql-1');
  t.is(decided(writer, has([1, 5]), { ...open, follows: following }).serving, undefined);
  t.is(decided({ ...writer, heir: true }, open, has([1, 5])).serving, undefined);
});

test('who sees neither for two looks sends clients nowhere else', (t) => {
  const look = (memory: Memory, one?: Look) =>
    remember(memory, writer, { 'mysql-1': one, 'mysql-2': undefined }, 1_000);
  const seen = look(noMemory(members, 0), { ...empty, open: true });
  t.false(isBlind(seen));
  t.false(isBlind(look(seen)));
  t.true(isBlind(look(look(seen))));
});

test('who was not asked is not gone: a guard that was held up looks for as long as any other', (t) => {
  const open = { ...empty, ...has([1, 5]), open: true };
  const copy = { ...empty, ...has([1, 5]), serverId: 2, follows: following };
  const seen = remember(noMemory(members, 0), writer, { 'mysql-1': open, 'mysql-2': copy }, 1_000);
  const thawedMs = 61_000;
  let memory = seen;
  const takesOver = (nowMs: number) => {
    memory = remember(memory, writer, { 'mysql-1': undefined, 'mysql-2': copy }, nowMs);
    return decide(writer, memory, nowMs).kind === 'note';
  };
  t.false(takesOver(thawedMs));
  t.false(takesOver(thawedMs + 1_000));
  t.true(takesOver(thawedMs + 2_000));
});

test('commits wait longer for a copy that is silent than for one that is gone', (t) => {
  const open = { ...empty, ...has([1, 5]), open: true };
  const copy = { ...empty, ...has([1, 5]), serverId: 2, follows: following };
  const goesOnAfter = (followers: number, two: Look | undefined) => {
    const served = { 'mysql-1': { ...open, followers: 1 }, 'mysql-2': copy };
    let memory = remember(noMemory(members, 0), writer, served, 0);
    for (let nowMs = 1_000; ; nowMs += 1_000) {
      const looks = { 'mysql-1': { ...open, followers, waiting: 1 }, 'mysql-2': two };
      memory = remember(memory, writer, looks, nowMs);
      if (decide(writer, memory, nowMs).kind === 'note') return nowMs;
    }
  };
  t.is(goesOnAfter(0, undefined), patience.copyGoneMs);
  t.is(goesOnAfter(1, undefined), patience.copyMs);
  t.is(goesOnAfter(0, copy), patience.copyMs);
});

test('who was opened before anybody followed waits for a copy as soon as there is one; who waited in vain, after a while', (t) => {
  const opened = acted(acted(noMemory(members, 0), 'open', 0), 'release', 1_000);
  t.is(opened.bindAgainAtMs, 0);
  const inVain = acted(acted(opened, 'bind', 2_000), 'release', 3_000);
  t.is(inVain.bindAgainAtMs, 3_000 + patience.bindAgainMs);
  t.is(acted(acted(inVain, 'open', 4_000), 'release', 5_000).bindAgainAtMs, inVain.bindAgainAtMs);
});

test('one that takes over applies all it has received first; the writer drops it, and so does who is told to lose it', (t) => {
  const copy = { ...has([1, 5]), follows: following };
  t.like(decided({ ...writer, heir: true }, undefined, copy).next, { action: 'detach', on: 'mysql-2' });
  const stuck = { ...copy, follows: { ...following, applying: false, stopped: true } };
  t.like(decided({ ...writer, heir: true }, undefined, stuck).next, { note: { copy: null, heir: false } });
  t.like(decided(writer, copy, {}).next, { action: 'drop', on: 'mysql-1' });
  const wish = { to: 'mysql-2', lose: true, sinceMs: 9_000 };
  t.like(decided(alone, undefined, stuck, { wish }).next, { action: 'drop', on: 'mysql-2' });
});

test('by hand, data are lost only by who says so', (t) => {
  const wish = { to: 'mysql-2', lose: false, sinceMs: 9_000 };
  const behind = { ...has([1, 4]), follows: following };
  t.is(decided(alone, undefined, behind, { wish }).next.kind, 'refuse');
  const lose = { ...wish, lose: true };
  t.like(decided(alone, undefined, behind, { wish: lose }).next, { kind: 'note', note: { heir: true } });
  t.like(decided(alone, { ...has([1, 5]), open: true }, behind, { wish: lose }).next, {
    action: 'fence',
    on: 'mysql-1',
  });
  const late = { ...lose, sinceMs: 10_000 - patience.wishMs };
  t.is(decided(alone, undefined, behind, { wish: late }).next.kind, 'refuse', 'it took too long');
});

test('one that has more than the writer is made anew, one that has less goes on', (t) => {
  const open = { ...has([1, 5]), open: true, waits: false };
  t.like(decided(alone, open, has([1, 4])).next, { action: 'follow', on: 'mysql-2' });
  t.like(decided(alone, open, has([1, 4], [2, 5])).next, { action: 'copy', on: 'mysql-2' });
  t.like(decided(alone, open, {}).next, { action: 'copy', on: 'mysql-2' }, 'it is empty');
  t.like(decided(alone, open, { ...has([1, 4]), follows: { ...following, broken: true } }).next, {
    action: 'copy',
  });
  t.like(
    decided(alone, { ...open, log: new Map(), blank: false }, {}).next,
    { action: 'copy' },
    'what was restored has no log',
  );
  t.is(decided(alone, open, {}, { copyAgainAtMs: 10_001 }).next.kind, 'wait', 'not again and again');
});
