import test, { type ExecutionContext } from 'ava';
import { environments } from '../catalog/environments.ts';
import { fakeStack } from './fake-stack.fixture.ts';
import { nodesFirst } from './rolling.ts';
import { applyProcesses, rolledProcesses } from './rolling-processes.ts';
import type { PlannedChange } from './terraform.ts';

const { dev } = environments;
const change = (name: string, ...actions: PlannedChange['actions']): PlannedChange => ({
  address: `docker_container.${name}`,
  name,
  actions,
  files: { before: '', after: '' },
});
const rolled = (changes: readonly PlannedChange[], ready: Readonly<Record<string, boolean>> = {}) =>
  rolledProcesses(changes, dev, new Map(Object.entries(ready))).map(({ alias }) => alias);

test('what is behind the gateway goes one after the other, what is not ready first; all the rest is no part of it', (t) => {
  const all = ['api', 'api-2', 'pay', 'promotion', 'gateway'].map((name) => change(name, 'delete', 'create'));
  t.deepEqual(rolled(all, { api: true, 'api-2': true }), ['pay', 'api', 'api-2']);
  t.deepEqual(rolled(all, { api: true, 'api-2': false, pay: true }), ['api-2', 'api', 'pay']);
});

test('a plan names what is behind the gateway first, and what is replaced with all the rest after it', (t) => {
  const all = ['commerce', 'gateway', 'api-2', 'delivery', 'api'].map((name) =>
    change(name, 'delete', 'create'),
  );
  const inOrder = nodesFirst(all, rolledProcesses(all, dev, new Map()));
  t.deepEqual(
    inOrder.map(({ name }) => name),
    ['api', 'api-2', 'delivery', 'commerce', 'gateway'],
  );
});

test('what a run that was cut off has taken away is back before its other replica goes', (t) => {
  const changes = [change('api', 'create'), change('api-2', 'delete', 'create')];
  t.deepEqual(rolled(changes, { api: false, 'api-2': true }), ['api', 'api-2']);
});

test('what is only made, or stays, is not rolled', (t) => {
  t.deepEqual(rolled([change('api', 'create'), change('api-2', 'create')]), []);
  t.deepEqual(rolled([change('api', 'no-op'), change('api-2', 'delete')]), []);
  t.deepEqual(rolled([change('api', 'no-op'), change('api-2', 'delete', 'create')]), ['api-2']);
});

/**
 * Applies the stack where these containers run, to a plan that names these; terraform only makes what it is asked for. Told that it
 * begins to replace this one somebody presses Ctrl-C.
 */
async function applied(
  t: ExecutionContext,
  containers: readonly string[],
  changes: readonly PlannedChange[],
  { environment = dev, interruptedAt = '' } = {},
): Promise<readonly string[]> {
  const { stack, deeds } = await fakeStack(t, 'dev-services', changes, {
    containers: containers.map((name) => `${dev.prefix}-${name}`),
    places: ['pay', 'delivery'],
  });
  const interruption = new AbortController();
  const rolling = applyProcesses(stack, {
    environment,
    variables: {},
    signal: interruption.signal,
    tell(line) {
      if (line.endsWith(`, ${interruptedAt}: replacing`)) interruption.abort();
    },
    onProgress() {},
  });
  if (interruptedAt === '') await rolling;
  else await t.throwsAsync(rolling, { code: 'MUSTER_INTERRUPTED' });
  return (await deeds()).filter((line) => /^(create|stop|terraform|gateway: show)/.test(line));
}

test.serial(
  'a reserve that a run has left serves while its process is brought back and others are replaced, and ends then',
  async (t) => {
    const changes = [change('delivery', 'delete', 'create'), change('pay', 'create')];
    t.deepEqual(await applied(t, ['gateway', 'delivery', 'pay-reserve'], changes), [
      'terraform apply -target=docker_container.pay',
      'gateway: show servers state pay',
      'create muster-dev-delivery-reserve',
      'terraform apply -target=docker_container.delivery',
      'gateway: show servers state delivery',
      'stop --time 30 muster-dev-delivery-reserve',
      'terraform apply',
      'gateway: show servers state pay',
      'stop --time 30 muster-dev-pay-reserve',
    ]);
  },
);

test.serial('a reserve serves on when a roll is cut off, and nothing after it is touched', async (t) => {
  const changes = ['delivery', 'pay'].map((name) => change(name, 'delete', 'create'));
  const deeds = await applied(t, ['gateway', 'delivery', 'pay'], changes, { interruptedAt: 'delivery' });
  t.deepEqual(
    deeds.filter((line) => !line.startsWith('terraform')),
    ['create muster-dev-delivery-reserve'],
  );
});

test.serial(
  'a gateway that is to be replaced, or told otherwise, with the rest is not asked what it thinks of what is new',
  async (t) => {
    for (const changed of ['gateway', 'gateway-settings']) {
      const changes = [change('pay', 'delete', 'create'), change(changed, 'delete', 'create')];
      t.deepEqual(await applied(t, ['gateway', 'pay'], changes), [
        'create muster-dev-pay-reserve',
        'terraform apply -target=docker_container.pay',
        'stop --time 30 muster-dev-pay-reserve',
        'terraform apply',
      ]);
    }
  },
);

test.serial(
  'a process that gets another replica with other code is replaced with a reserve: the gateway does not know the other one yet',
  async (t) => {
    const list = dev.processes.list.map((one) => (one.name === 'pay' ? { ...one, replicas: 2 } : one));
    const environment = { ...dev, processes: { ...dev.processes, list } };
    const changes = ['pay', 'gateway'].map((name) => change(name, 'delete', 'create'));
    t.deepEqual(
      await applied(t, ['gateway', 'pay'], [...changes, change('pay-2', 'create')], { environment }),
      [
        'terraform apply -target=docker_container.pay-2',
        'create muster-dev-pay-reserve',
        'terraform apply -target=docker_container.pay',
        'stop --time 30 muster-dev-pay-reserve',
        'terraform apply',
      ],
    );
  },
);
