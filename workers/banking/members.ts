/** Asks membership, over HTTP, whether a member is in good standing. */
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { NotNowError } from '../base/errors.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { createOutgoing } from '../http/outgoing.ts';

const member = Compile(Type.Object({ state: Type.Enum(['ACTIVE', 'SUSPENDED', 'CLOSED']) }));

/** Undefined: the member is in good standing. Rejects with MUSTER_MEMBERSHIP_AWAY (not now) when nobody says so. */
export type StandingOf = (memberId: string) => Promise<Refused | undefined>;

export function askMembership(options: {
  readonly baseUrl: string;
  readonly token: string;
  readonly registry: Registry;
}): StandingOf {
  const membership = createOutgoing({
    name: 'membership',
    timeoutMs: 3_000,
    tries: 2,
    leftAloneMs: 5_000,
    ...options,
  });
  return async (memberId) => {
    const answer = await membership.call({
      method: 'GET',
      path: `/pay/members/${encodeURIComponent(memberId)}`,
      template: '/pay/members/{memberId}',
      wantsBody: true,
    });
    // 422: what cannot be a member's id is none.
    if (answer.status === 404 || answer.status === 422)
      return refuse(404, 'MUSTER_MEMBER_UNKNOWN', 'there is no such member');
    if (answer.outcome !== '2xx' || !member.Check(answer.body))
      throw new NotNowError(
        'MUSTER_MEMBERSHIP_AWAY',
        'membership does not say whether the member is in good standing',
      );
    const { state } = answer.body;
    return state === 'ACTIVE'
      ? undefined
      : refuse(409, 'MUSTER_MEMBER_NOT_ACTIVE', `the member is ${state}`, [
          { field: 'memberId', reason: `is ${state}` },
        ]);
  };
}
