/**
 * The life of an event that others are told about, as pure decisions:
 *
 *   PUBLISHED -> IN_PROGRESS -> COMPLETED
 *                            -> FAILED      -> IN_PROGRESS (the next attempt)
 *                            -> DEAD_LETTER -> IN_PROGRESS (a replay)
 *
 * IN_PROGRESS -> IN_PROGRESS is an attempt that begins because nobody lived to see the end of the one before. A success that
 * comes late, after a later attempt has begun or has failed, completes the event all the same: the receiver has it.
 */

export const eventStates = ['PUBLISHED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER'] as const;
export type EventState = (typeof eventStates)[number];

/** What the log says of an event, as far as decisions need it. */
export interface EventProgress {
  readonly state: EventState;
  /** How many attempts began. */
  readonly attempts: number;
  /** An attempt got no answer: the receiver may have done the work. Only a success settles it. */
  readonly inDoubt: boolean;
}

export const published: EventProgress = { state: 'PUBLISHED', attempts: 0, inDoubt: false };

/** The event with its next attempt begun; undefined when there is nothing to do any more. */
export function beginAttempt(event: EventProgress): EventProgress | undefined {
  if (event.state === 'COMPLETED') return undefined;
  return {
    state: 'IN_PROGRESS',
    attempts: event.attempts + 1,
    inDoubt: event.inDoubt || event.state === 'IN_PROGRESS',
  };
}

/**
 * The event after attempt number `attempt` has ended and wants it in `state`; undefined when the log stays as it is.
 * `attemptInDoubt`: it got no answer.
 */
export function endAttempt(
  event: EventProgress,
  attempt: number,
  state: 'COMPLETED' | 'FAILED' | 'DEAD_LETTER',
  attemptInDoubt: boolean,
): EventProgress | undefined {
  if (event.state === 'COMPLETED') return undefined;
  if (state === 'COMPLETED') return { ...event, state, inDoubt: false };
  const inDoubt = event.inDoubt || attemptInDoubt;
  // A later attempt has the word, but what this one leaves open stays open.
  if (event.state !== 'IN_PROGRESS' || event.attempts !== attempt)
    return inDoubt === event.inDoubt ? undefined : { ...event, inDoubt };
  return { ...event, state, inDoubt };
}
