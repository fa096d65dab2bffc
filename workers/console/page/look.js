/** What is asked for again and again while somebody looks at it. */
import { useEffect, useState } from 'preact/hooks';

/** What was seen last, and why the last look failed, if it did. */
export function useLook(active, ask, everyMs) {
  const [seen, setSeen] = useState(undefined);
  const [failure, setFailure] = useState(undefined);
  useEffect(() => {
    if (!active) return undefined;
    async function look() {
      if (document.visibilityState !== 'visible') return;
      try {
        setSeen(await ask());
        setFailure(undefined);
      } catch (error) {
        setFailure(error);
      }
    }
    void look();
    const timer = setInterval(look, everyMs);
    return () => clearInterval(timer);
  }, [active]);
  return { seen, failure };
}
