/** What people want of the guard, taken from its folder and answered there. */
import type { Logger } from '../base/log.ts';
import type { Wish } from './decide.ts';
import type { Notes } from './notes.ts';

export interface Wishes {
  /** One that nobody has had an answer to, and that somebody still waits for. */
  take(nowMs: number): Promise<Wish | undefined>;
  /** The one that was taken is carried out but for the last step. */
  grant(): void;
  /** That one is done: people can see it. */
  answer(): Promise<void>;
  /** Of the one that was taken: why not, or null: it was so already. */
  end(refused: string | null): Promise<void>;
}

export function openWishes(notes: Notes, log: Logger): Wishes {
  let taken: string | undefined;
  let isGranted = false;
  async function end(refused: string | null): Promise<void> {
    if (taken !== undefined) await notes.setAnswer({ id: taken, refused });
    taken = undefined;
    isGranted = false;
  }
  return {
    end,
    async take(nowMs) {
      const wish = await notes.wish();
      if (wish === undefined || wish.id === taken || Date.now() > wish.untilMs) return undefined;
      log.warn('a change by hand is wanted', { to: wish.to, lose: wish.lose });
      taken = wish.id;
      isGranted = false;
      return { to: wish.to, lose: wish.lose, sinceMs: nowMs };
    },
    grant() {
      isGranted = true;
    },
    async answer() {
      if (isGranted) await end(null);
    },
  };
}
