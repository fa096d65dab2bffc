/** Moments in requests. */
import { Type } from 'typebox';

/** As RFC 3339 has them, but for leap seconds: no clock of ours has these, and Date.parse() reads none. */
export const moment = (description: string) =>
  Type.String({ format: 'date-time', pattern: '^.{17}[0-5]', description });
