/** What the end of a webhook means for its event. Pure. */
import { type Answer, isWorthRetrying } from '../http/outgoing.ts';

/** Where an answer leads: `putOff` is how often the event's record was put off before, `putOffs` how often it may be. */
export function stateAfter(
  answer: Answer,
  putOff: number,
  putOffs: number,
): 'COMPLETED' | 'FAILED' | 'DEAD_LETTER' {
  if (answer.outcome === '2xx') return 'COMPLETED';
  return isWorthRetrying(answer) && putOff < putOffs ? 'FAILED' : 'DEAD_LETTER';
}
