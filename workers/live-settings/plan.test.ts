import test from 'ava';
import type { DescribedSetting } from '../kafka/broker-admin.ts';
import { describeSettings, isInEffect, planSettings, readProperties, type SeenSettings } from './plan.ts';

const ids = [1, 2, 3];
const setting = (
  value: string,
  source: DescribedSetting['source'] = 'default',
  fallback = '1',
): DescribedSetting => ({
  value,
  source,
  fallback,
});

/** Three brokers that all have this in effect. */
function seen(
  clusterWide: Readonly<Record<string, string>>,
  inEffect: Readonly<Record<string, DescribedSetting>> = {},
): SeenSettings {
  return {
    clusterWide: new Map(Object.entries(clusterWide)),
    inEffect: new Map(ids.map((id) => [id, new Map(Object.entries(inEffect))])),
  };
}
const wanted = (settings: Readonly<Record<string, string>>) => new Map(Object.entries(settings));
const noted = { 'muster.set.log.retention.ms': '' };

test('what is wanted and not so is set, and noted as ours; the second time nothing is left', (t) => {
  const plan = planSettings(wanted({ 'log.retention.ms': '5' }), seen({}));
  t.deepEqual(plan.changes, [{ name: 'log.retention.ms', from: undefined, to: '5' }]);
  t.deepEqual([...plan.notes], [['muster.set.log.retention.ms', 'true']]);
  t.deepEqual(describeSettings(plan), ['+ log.retention.ms=5']);
  const again = planSettings(
    wanted({ 'log.retention.ms': '5' }),
    seen({ 'log.retention.ms': '5', ...noted }),
  );
  t.deepEqual([again.changes, [...again.notes], again.kept], [[], [], []]);
});

test('another value is changed, and said with the one before', (t) => {
  const plan = planSettings(wanted({ 'log.retention.ms': '6' }), seen({ 'log.retention.ms': '5', ...noted }));
  t.deepEqual(describeSettings(plan), ['~ log.retention.ms: 5 -> 6']);
});

test('what the catalog says no longer is taken back if we have set it; what somebody else has set stays, and is told', (t) => {
  const plan = planSettings(
    wanted({}),
    seen({ 'log.retention.ms': '5', ...noted, 'message.max.bytes': '9' }),
  );
  t.deepEqual(plan.changes, [{ name: 'log.retention.ms', from: '5', to: undefined }]);
  t.deepEqual([...plan.notes], [['muster.set.log.retention.ms', undefined]]);
  const [taken, kept] = describeSettings(plan);
  t.is(taken, '- log.retention.ms: 5 is taken back');
  t.regex(kept!, /^! message\.max\.bytes=9 .*kept$/);
});

test('what somebody else has taken back already is only forgotten', (t) => {
  const plan = planSettings(wanted({}), seen(noted));
  t.deepEqual(plan.changes, []);
  t.deepEqual([...plan.notes], [['muster.set.log.retention.ms', undefined]]);
});

test('a number of threads goes by at most twice and half of what it is, until it is there', (t) => {
  const name = 'num.replica.fetchers';
  const step = (to: string, now: string) =>
    planSettings(wanted({ [name]: to }), seen({}, { [name]: setting(now) })).changes[0]!.to;
  t.deepEqual(
    [step('5', '1'), step('5', '2'), step('5', '4'), step('1', '5'), step('1', '2')],
    ['2', '4', '5', '2', '1'],
  );
  const memory = 'message.max.bytes';
  t.is(planSettings(wanted({ [memory]: '9' }), seen({}, { [memory]: setting('1') })).changes[0]!.to, '9');
});

test('a number of threads is taken back step by step, too, and is ours until then', (t) => {
  const name = 'num.replica.fetchers';
  const set = (value: string) =>
    planSettings(
      wanted({}),
      seen({ [name]: value, [`muster.set.${name}`]: '' }, { [name]: setting(value, 'cluster', '1') }),
    );
  t.deepEqual(set('4').changes, [{ name, from: '4', to: '2' }]);
  t.is(set('4').notes.size, 0);
  t.deepEqual(set('2').changes, [{ name, from: '2', to: undefined }]);
  t.is(set('2').notes.size, 1);
});

test('a broker that has a setting of its own is told of and not waited for', (t) => {
  const name = 'num.io.threads';
  const own = seen({}, { [name]: setting('8', 'broker') });
  const plan = planSettings(wanted({ [name]: '4' }), own);
  t.is(plan.kept.length, 3);
  t.true(isInEffect(plan.changes, own));
});

test('a change is in effect when every broker works with it', (t) => {
  const name = 'log.retention.ms';
  const set = [{ name, from: undefined, to: '5' }];
  const removed = [{ name, from: '5', to: undefined }];
  t.false(isInEffect(set, seen({}, { [name]: setting('5', 'file') })));
  t.true(isInEffect(set, seen({}, { [name]: setting('5', 'cluster') })));
  t.true(isInEffect(set, seen({}, { [name]: setting('5.0E0', 'cluster') })));
  t.false(isInEffect(set, seen({}, { [name]: setting('', 'cluster') })));
  t.false(isInEffect(removed, seen({}, { [name]: setting('5', 'cluster') })));
  t.true(isInEffect(removed, seen({}, { [name]: setting('7', 'file') })));
});

test('a file of settings is read without its comments; anything else in it is refused', (t) => {
  t.deepEqual(
    [...readProperties('# why\na.b=1\n\nc=x=y\n')],
    [
      ['a.b', '1'],
      ['c', 'x=y'],
    ],
  );
  t.throws(() => readProperties('nonsense'), { message: /not a setting: nonsense/ });
});
