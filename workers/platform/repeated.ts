/** Something that is looked at from time to time. */

/** Does `look`, which tells of its own failures, now and every so often, one after the other, until stopped. */
export function startRepeated(everyMs: number, look: () => Promise<void>): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve();
  const begin = () => {
    running = running.then(look);
  };
  begin();
  const timer = setInterval(begin, everyMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
