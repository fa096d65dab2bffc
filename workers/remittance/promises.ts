/** What remittances promise, checked in their database by a question of its own. */
import { type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { openStates } from '../platform/move.ts';
import { overdueSagas } from '../store/overdue.ts';

export const remittanceChecks: ChecksOf<'remittance'> = {
  'remittances-decided': ({ database }, { limitMs }) => {
    const asked = { table: 'remittance', id: 'remittance_id', waitsFor: 'waits_for', open: openStates };
    return async () =>
      evidenceOf(await overdueSagas(await database('remittance'), { ...asked, limitMs, most: mostBroken }));
  },
};
