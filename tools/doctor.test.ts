import test from 'ava';
import { painter } from '../drawing/table.ts';
import { MusterError } from '../workers/base/errors.ts';
import { findingsOf, findingsTable } from './doctor.ts';

test('what is in the way is told with its code, and the rest is looked at all the same', async (t) => {
  const findings = await findingsOf([
    { what: 'engine', look: () => Promise.reject(new MusterError('MUSTER_ENGINE_MISSING', 'none')) },
    { what: 'ports', look: async () => 'free' },
  ]);
  t.deepEqual(findings, [
    { what: 'engine', ok: false, says: 'none (MUSTER_ENGINE_MISSING)' },
    { what: 'ports', ok: true, says: 'free' },
  ]);
  t.regex(findingsTable(findings, painter(false)), /✖ +engine +none .*\n✔ +ports +free/);
});

test('a bug of ours is no finding', async (t) => {
  await t.throwsAsync(findingsOf([{ what: 'x', look: () => Promise.reject(new TypeError('y')) }]), {
    instanceOf: TypeError,
  });
});
