import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { fakeEngine } from '../environment/fake-engine.fixture.ts';
import { fakePrograms } from '../environment/fake-programs.fixture.ts';
import { endReserve, removeReserveImages, reservesLeft, withReserve } from './reserve.ts';

const { dev } = environments;
const options = { signal: new AbortController().signal, say() {} };
const running = { containers: ['muster-dev-pay', 'muster-dev-gateway'], places: ['pay'] };

const ended = [
  'stop --time 30 muster-dev-pay-reserve',
  'gateway: set server pay/pay-reserve state maint',
  'rm --force muster-dev-pay-reserve',
];

test.serial(
  'a reserve serves from before the replacement until after it, and ends what it has begun',
  async (t) => {
    const { deeds, note } = await fakeEngine(t, running);
    await withReserve(dev, 'pay', options, () => note('replaced'));
    t.deepEqual(await deeds(), [
      'gateway: get weight pay/pay-reserve',
      'rm --force muster-dev-pay-reserve',
      'create muster-dev-pay-reserve',
      'start muster-dev-pay-reserve',
      'gateway: set server pay/pay-reserve addr 172.18.0.9 port 8080',
      'gateway: set server pay/pay-reserve state ready',
      'replaced',
      ...ended,
    ]);
    t.deepEqual(await reservesLeft(dev, options.signal), []);
  },
);

test.serial('where the gateway that runs has no place for a reserve, none is started', async (t) => {
  const { deeds, note } = await fakeEngine(t, { ...running, places: ['delivery'] });
  await withReserve(dev, 'pay', options, () => note('replaced'));
  t.deepEqual(await deeds(), ['gateway: get weight pay/pay-reserve', 'replaced']);
});

test.serial(
  'a reserve whose process does not come back serves on, until it is ended as it should be',
  async (t) => {
    const { deeds } = await fakeEngine(t, running);
    const fails = () =>
      withReserve(dev, 'pay', options, () => Promise.reject(new Error('it does not start')));
    await t.throwsAsync(fails(), { message: 'it does not start' });
    t.is((await deeds()).at(-1), 'gateway: set server pay/pay-reserve state ready');
    t.deepEqual(await reservesLeft(dev, options.signal), ['pay']);
    await t.throwsAsync(fails());
    t.is((await deeds()).filter((line) => line.startsWith('create')).length, 1);
    await endReserve(dev, 'pay', options.signal);
    t.deepEqual((await deeds()).slice(-3), ended);
  },
);

test.serial(
  'images of reserves go with the secrets that are in them, also when most are not there',
  async (t) => {
    const { calls } = await fakePrograms(t, { docker: 'exit 1' });
    await removeReserveImages(dev);
    t.regex((await calls())[0]!, /^docker image rm --force .*muster\/reserve:muster-dev-pay-reserve/);
  },
);
