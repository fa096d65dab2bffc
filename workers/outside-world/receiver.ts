/**
 * What a receiver of webhooks outside does, and how it can be told to misbehave. Pure: clock and journal are passed in.
 * A good receiver does the work of an Idempotency-Key once and answers every repeat as it answered the first.
 */
import { type Static, Type } from 'typebox';
import type { Journal } from './journal.ts';

export const modes = ['ok', 'fail', 'hang', 'slow', 'lose-response'] as const;

export const behaviour = Type.Object(
  {
    mode: Type.Enum([...modes], {
      description:
        'ok: works and answers 200. fail: answers `status` without working. hang: neither works nor answers. slow: works, answers after `delayMs`. lose-response: works, then cuts the connection.',
    }),
    status: Type.Optional(
      Type.Integer({ minimum: 300, maximum: 599, description: 'answer of mode fail; default 503' }),
    ),
    delayMs: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 600_000, description: 'wait of mode slow; default 2000' }),
    ),
    first: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'only for the first so many attempts of each Idempotency-Key; ok from then on',
      }),
    ),
    keyPrefix: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'only for keys that begin so; ok for the others',
      }),
    ),
  },
  { additionalProperties: false },
);
export type Behaviour = Static<typeof behaviour>;

export interface Attempt {
  readonly at: string;
  /** What was done about it: the status answered, or `hang`, `lost`, `slow`. */
  readonly answer: number | 'hang' | 'lost' | 'slow';
}

export interface Receipt {
  readonly key: string;
  readonly body: unknown;
  /** 1 when the work of this key was done; never more. */
  effects: number;
  readonly attempts: Attempt[];
}

/** What to do with a webhook; the work, if any, is noted already. */
export type Reaction =
  | { readonly kind: 'answer'; readonly status: number; readonly afterMs: number }
  | { readonly kind: 'hang' | 'lose' };

export interface Receiver {
  behaviour: Behaviour;
  /** Takes a webhook. The same key with another body is a mistake of the sender: 409, and no work. */
  take(key: string, body: unknown, atMs: number): Reaction;
  /** Newest first. */
  receipts(): readonly Receipt[];
  clear(): void;
}

type Kept = Pick<Journal<Receipt>, 'entries' | 'keep' | 'replace'>;
const nothing: Kept = { entries: [], keep() {}, replace() {} };

/** So many keys survive a restart, the newest: a process that starts has memory for twice as many entries. */
const survive = 20_000;

/** Keeps the newest `keep` keys: a repeat of an older one would be worked on again. Each attempt is an entry of the journal. */
export function createReceiver(keep: number, journal = nothing): Receiver {
  const known = new Map<string, Receipt & { readonly text: string }>();
  const survivors = Math.min(keep, survive);
  let written = journal.entries.length;
  function remember(receipt: Receipt): Receipt & { readonly text: string } {
    const one = { ...receipt, text: JSON.stringify(receipt.body) };
    known.set(receipt.key, one);
    if (known.size > keep) known.delete(known.keys().next().value!);
    return one;
  }
  const shown = ({ key, body, effects, attempts }: Receipt): Receipt => ({ key, body, effects, attempts });
  const all = () => [...known.values()].map(shown);
  for (const receipt of journal.entries) remember(receipt);

  function write(receipt: Receipt): void {
    written += 1;
    if (written <= 2 * survivors) journal.keep(shown(receipt));
    else {
      const newest = all().slice(-survivors);
      journal.replace(newest);
      written = newest.length;
    }
  }
  return {
    behaviour: { mode: 'ok' },
    take(key, body, atMs) {
      const text = JSON.stringify(body);
      const receipt = known.get(key) ?? remember({ key, body, effects: 0, attempts: [] });
      const note = (answer: Attempt['answer']) => {
        receipt.attempts.push({ at: new Date(atMs).toISOString(), answer });
        write(receipt);
      };
      const { mode, status = 503, delayMs = 2_000, first, keyPrefix } = this.behaviour;
      const applies =
        (first === undefined || receipt.attempts.length < first) &&
        (keyPrefix === undefined || key.startsWith(keyPrefix));
      if (applies && mode === 'fail') {
        note(status);
        return { kind: 'answer', status, afterMs: 0 };
      }
      if (applies && mode === 'hang') {
        note('hang');
        return { kind: 'hang' };
      }
      if (receipt.text !== text) {
        note(409);
        return { kind: 'answer', status: 409, afterMs: 0 };
      }
      receipt.effects = 1;
      if (applies && mode === 'lose-response') {
        note('lost');
        return { kind: 'lose' };
      }
      const slow = applies && mode === 'slow';
      note(slow ? 'slow' : 200);
      return { kind: 'answer', status: 200, afterMs: slow ? delayMs : 0 };
    },
    receipts: () => all().reverse(),
    clear() {
      known.clear();
      written = 0;
      journal.replace([]);
    },
  };
}
