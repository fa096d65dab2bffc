/** What the canary says to itself. */
import { Type } from 'typebox';

/** A probe on its way through one partition: topic `muster-canary`. */
export const canaryProbe = Type.Object(
  {
    instance: Type.String({
      pattern: '^[0-9a-f]{16}$',
      description: 'the run of the canary that sent it; probes of other runs are not counted',
    }),
    sequence: Type.Integer({ minimum: 0, description: 'counts the probes of a run and partition' }),
  },
  { $id: 'CanaryProbe', title: 'CanaryProbe', additionalProperties: false },
);
