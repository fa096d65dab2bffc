/** Reads AVA's TAP output line by line. Pure. */

export interface TapFailure {
  readonly title: string;
  /** The YAML block below it: message, values, stack. */
  readonly details: readonly string[];
}

export interface TapSummary {
  passed: number;
  failed: number;
  skipped: number;
  readonly failures: TapFailure[];
}

/**
 * Feeds lines into a summary; `onResult` is told of each test as it ends, a failure once its details are complete.
 * `onLog` gets what passing tests logged. Call `end()` after the last line: a failure at the very end is reported then.
 */
export function tapReader(
  onResult: (title: string, ok: boolean, details: readonly string[]) => void,
  onLog: (text: string) => void = () => {},
): {
  line(text: string): void;
  end(): TapSummary;
} {
  const summary: TapSummary = { passed: 0, failed: 0, skipped: 0, failures: [] };
  let open: { title: string; details: string[] } | undefined;
  const close = (): void => {
    if (open === undefined) return;
    summary.failures.push(open);
    onResult(open.title, false, open.details);
    open = undefined;
  };
  return {
    line(text) {
      const match = /^(not )?ok \d+ - (.*)$/.exec(text);
      if (match !== null) {
        close();
        const [, not, rest = ''] = match;
        const directive = / # (SKIP|TODO)\b.*$/i.exec(rest);
        const title = directive === null ? rest : rest.slice(0, directive.index);
        if (directive !== null) summary.skipped += 1;
        else if (not === undefined) {
          summary.passed += 1;
          onResult(title, true, []);
        } else {
          summary.failed += 1;
          open = { title, details: [] };
        }
        return;
      }
      if (/^Bail out!/.test(text)) {
        close();
        summary.failed += 1;
        open = { title: text, details: [] };
        return;
      }
      // What a test logged comes after its result, before the details of a failure.
      const logged = /^# {3}(.*)$/.exec(text)?.[1];
      if (logged !== undefined) {
        if (open === undefined) onLog(logged);
        else open.details.push(`    ${logged}`);
        return;
      }
      if (/^(TAP version|1\.\.\d+|# )/.test(text)) return close();
      if (open !== undefined && text.trim() !== '---' && text.trim() !== '...') open.details.push(text);
    },
    end() {
      close();
      return summary;
    },
  };
}
