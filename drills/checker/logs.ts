/** Judges what the log store has of a process against what the process wrote. Asks the store by questions of its own. */
import { type Finding, found, NotChecked, type Verdict } from './verdict.ts';

/** A process as it saw itself: its lines are numbered from 1. */
export interface LogsTold {
  /** No other has its name. */
  readonly process: string;
  readonly written: number;
  /** What it says that it dropped, all reasons together. */
  readonly dropped: number;
}

export interface LogsSeen {
  readonly lines: number;
  /** Lines with numbers of their own. */
  readonly distinct: number;
  /** The highest number, and how many before it say that they were dropped. */
  readonly last: number;
  readonly droppedBeforeLast: number;
  /** Lines that name a person. */
  readonly personal: number;
}

/** What the store has of a process. Rejects with NotChecked. */
export async function logsSeen(url: string, process: string, personal: readonly string[]): Promise<LogsSeen> {
  const ask = async (query: string): Promise<Readonly<Record<string, string>>> => {
    try {
      const response = await fetch(`${url}/select/logsql/query`, {
        method: 'POST',
        body: new URLSearchParams({ query }),
        signal: AbortSignal.timeout(30_000),
      });
      if (!response.ok) throw new Error(`${response.status}`);
      return JSON.parse((await response.text()).split('\n')[0] || '{}') as Record<string, string>;
    } catch (error) {
      throw new NotChecked('log store', `it does not answer: ${String(error)}`);
    }
  };
  const of = `{process=${JSON.stringify(process)}}`;
  const all = await ask(
    `${of} | stats count() lines, count_uniq(sequence) distinct, max(sequence) last, max(dropped) dropped`,
  );
  const named = personal.map((text) => `*:${JSON.stringify(text)}*`).join(' or ');
  const people = personal.length === 0 ? {} : await ask(`${of} (${named}) | stats count() lines`);
  return {
    lines: Number(all.lines ?? 0),
    distinct: Number(all.distinct ?? 0),
    last: Number(all.last || 0),
    droppedBeforeLast: Number(all.dropped || 0),
    personal: Number((people as { lines?: string }).lines ?? 0),
  };
}

export function checkLogs({ process, written, dropped }: LogsTold, seen: LogsSeen): Verdict {
  const findings: Finding[] = [];
  const lost = written - dropped - seen.distinct;
  if (lost > 0)
    findings.push(
      found('lost', process, `${lost} of ${written} lines are neither stored nor told as dropped`),
    );
  if (seen.last > written)
    findings.push(found('from-nowhere', process, `line ${seen.last} was stored and ${written} were written`));
  const gap = seen.last - seen.distinct - seen.droppedBeforeLast;
  if (gap > 0) findings.push(found('lost', process, `${gap} numbers are missing that no line tells of`));
  if (seen.personal > 0)
    findings.push(found('personal-data', process, `${seen.personal} lines name a person`));
  return {
    subject: 'logs',
    acked: written - dropped,
    inDoubt: 0,
    repeats: seen.lines - seen.distinct,
    findings,
  };
}
