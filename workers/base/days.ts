/** Days (YYYY-MM-DD) of a time zone. Pure. */

const dayMs = 86_400_000;

/** `timeZone`: an IANA name. */
export function daysOf(timeZone: string) {
  const format = new Intl.DateTimeFormat('en-CA', { timeZone, dateStyle: 'short' });
  const dayOf = (ms: number): string => format.format(ms);

  /** The first moment that is of the day or a later one: midnight, or what stands for it where clocks skip that. */
  function beginOf(day: string): number {
    const noon = Date.parse(`${day}T12:00:00Z`);
    let [before, from] = [noon - 2 * dayMs, noon + 2 * dayMs];
    while (from - before > 1) {
      const middle = Math.floor((before + from) / 2);
      if (dayOf(middle) < day) before = middle;
      else from = middle;
    }
    return from;
  }

  const nextOf = (day: string): number =>
    beginOf(new Date(Date.parse(`${day}T12:00:00Z`) + dayMs).toISOString().slice(0, 10));

  return {
    /** The day of a moment, UTC ms. */
    dayOf,

    /** When the day after that of a moment begins, UTC ms. */
    nextDayMs: (ms: number): number => nextOf(dayOf(ms)),

    /** From its first moment to before that of the next day, UTC ms; undefined for what is no day of the calendar. */
    rangeOf(day: string): { readonly fromMs: number; readonly toMs: number } | undefined {
      const noon = Date.parse(`${day}T12:00:00Z`);
      if (Number.isNaN(noon) || new Date(noon).toISOString().slice(0, 10) !== day) return undefined;
      return { fromMs: beginOf(day), toMs: nextOf(day) };
    },
  };
}
