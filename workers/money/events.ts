/** What money hears on Kafka. Pure. */
import { memberEvent } from '../../catalog/events/membership.ts';
import { eventReader } from '../kafka/event-reader.ts';

export const readMemberEvent = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');
