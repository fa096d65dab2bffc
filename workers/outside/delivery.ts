/** How a webhook ended, and what that means for its event. Pure. */

export const outcomes = ['2xx', '3xx', '4xx', '5xx', 'timeout', 'network'] as const;
export type Outcome = (typeof outcomes)[number];

/** How an attempt ended. */
export interface Answer {
  readonly outcome: Outcome;
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** True when the request may have reached the receiver and no answer came back. */
  readonly inDoubt: boolean;
}

/** Where an answer leads: `putOff` is how often the event's record was put off before, `putOffs` how often it may be. */
export function stateAfter(
  answer: Answer,
  putOff: number,
  putOffs: number,
): 'COMPLETED' | 'FAILED' | 'DEAD_LETTER' {
  if (answer.outcome === '2xx') return 'COMPLETED';
  return isWorthRetrying(answer) && putOff < putOffs ? 'FAILED' : 'DEAD_LETTER';
}

/** A refusal (3xx, 4xx) stays one however often it is asked for; 408 and 429 say "not now". */
function isWorthRetrying({ outcome, status }: Answer): boolean {
  if (outcome === '3xx' || outcome === '4xx') return status === 408 || status === 429;
  return outcome !== '2xx';
}

export function outcomeOfStatus(status: number): Outcome {
  if (status >= 500) return '5xx';
  if (status >= 400) return '4xx';
  return status >= 300 ? '3xx' : '2xx';
}
