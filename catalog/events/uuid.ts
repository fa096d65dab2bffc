/** Ids that are UUIDs, as text. */
import { Type } from 'typebox';

export const uuidPattern = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

export const uuid = (description: string) => Type.String({ pattern: uuidPattern, description });
