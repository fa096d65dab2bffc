/**
 * The life of an event in the log, as pure decisions:
 *
 *   PUBLISHED -> IN_PROGRESS -> COMPLETED
 *                            -> FAILED      -> IN_PROGRESS (the next attempt)
 *                            -> DEAD_LETTER -> IN_PROGRESS (a replay)
 *
 * IN_PROGRESS -> IN_PROGRESS is an attempt that begins because nobody lived to see the end of the one before. A 2xx that
 * comes late, after a later attempt has begun or has failed, completes the event all the same: the receiver has it.
 */

export const eventStates = ['PUBLISHED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER'] as const;
export type EventState = (typeof eventStates)[number];

/** What the log says of an event, as far as decisions need it. */
export interface LoggedEvent {
  readonly state: EventState;
  /** How many attempts began. */
  readonly attempts: number;
  /** An attempt got no answer: the receiver may have done the work. Only a 2xx settles it. */
  readonly inDoubt: boolean;
}

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

export const published: LoggedEvent = { state: 'PUBLISHED', attempts: 0, inDoubt: false };

/** The event with its next attempt begun; undefined when there is nothing to do any more. */
export function beginAttempt(event: LoggedEvent): LoggedEvent | undefined {
  if (event.state === 'COMPLETED') return undefined;
  return {
    state: 'IN_PROGRESS',
    attempts: event.attempts + 1,
    inDoubt: event.inDoubt || event.state === 'IN_PROGRESS',
  };
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

/** The event after attempt number `attempt` has ended; undefined when the log stays as it is. */
export function endAttempt(
  event: LoggedEvent,
  attempt: number,
  answer: Answer,
  state: 'COMPLETED' | 'FAILED' | 'DEAD_LETTER',
): LoggedEvent | undefined {
  if (event.state === 'COMPLETED') return undefined;
  if (state === 'COMPLETED') return { ...event, state, inDoubt: false };
  const inDoubt = event.inDoubt || answer.inDoubt;
  // A later attempt has the word, but what this one leaves open stays open.
  if (event.state !== 'IN_PROGRESS' || event.attempts !== attempt)
    return inDoubt === event.inDoubt ? undefined : { ...event, inDoubt };
  return { ...event, state, inDoubt };
}

export function outcomeOfStatus(status: number): Outcome {
  if (status >= 500) return '5xx';
  if (status >= 400) return '4xx';
  return status >= 300 ? '3xx' : '2xx';
}
