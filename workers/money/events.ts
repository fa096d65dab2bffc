/** What money hears on Kafka. Pure. */
import { firmbankingDecided } from '../../catalog/events/banking.ts';
import { memberEvent } from '../../catalog/events/membership.ts';
import { eventReader } from '../kafka/event-reader.ts';

export const readMemberEvent = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');
export const readFirmbankingDecided = eventReader(firmbankingDecided, 'MUSTER_EVENT_INVALID');
