import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { fakeDocker } from '../environment/fake-docker.fixture.ts';
import { endReserve, removeReserveImages, reservesLeft, withReserve } from './reserve.ts';

const { dev } = environments;

const container = (id: string, name: string) => ({
  Id: id,
  Name: `/${name}`,
  State: { Status: 'running', ExitCode: 0, OOMKilled: false, StartedAt: '2026-01-01T00:00:00Z' },
  RestartCount: 0,
  Config: { Image: 'i', Labels: {}, Hostname: name, Env: ['HTTP_ALLOWED_HOSTS=pay'] },
  HostConfig: {
    ...{ Memory: 1, NanoCpus: 0, CapDrop: null, SecurityOpt: null, Ulimits: null, PortBindings: null },
    ...{ RestartPolicy: { Name: 'unless-stopped' }, LogConfig: { Type: 'json-file', Config: null } },
  },
  Mounts: [],
});
const those = [container('p', 'muster-dev-pay'), container('g', 'muster-dev-gateway')];
const withCopy = [...those, container('r', 'muster-dev-pay-reserve')];

/** What my-pay and the gateway answer, and the reserve once it was started; the gateway has a place for one, or has not. */
const world = (place: 'a place' | 'no place') => `
case "$*" in
  start*) touch started ;;
  "rm "*) rm -f started ;;
  ps*) echo p; echo g; if [ -e started ]; then echo r; fi ;;
  "inspect --format"*) echo 172.18.0.9 ;;
  inspect*) if [ -e started ]; then echo '${JSON.stringify(withCopy)}'; else echo '${JSON.stringify(those)}'; fi ;;
  *" nc "*)
    read -r line
    echo "gateway: $line" >> calls
    case "$line" in
      "get weight"*) echo "${place === 'no place' ? 'No such server.' : '1 (initial 1)'}" ;;
      *addr*) echo "IP changed from '127.0.0.1'" ;;
    esac ;;
  exec*) printf 'HTTP/1.1 200 OK\\r\\n\\r\\n{}' ;;
esac`;

const notable = (calls: readonly string[]) =>
  calls
    .filter((line) => /^(gateway|replaced|create|start|stop|rm)/.test(line))
    .map((line) => line.replace(/^create .*/, 'create'));
const options = { signal: new AbortController().signal, say() {} };

test.serial(
  'a reserve serves from before the replacement until after it, and ends what it has begun',
  async (t) => {
    const { calls, note } = await fakeDocker(t, world('a place'));
    await withReserve(dev, 'pay', options, () => note('replaced'));
    t.deepEqual(notable(await calls()), [
      'gateway: get weight pay/pay-reserve',
      'rm --force muster-dev-pay-reserve',
      'create',
      'start muster-dev-pay-reserve',
      'gateway: set server pay/pay-reserve addr 172.18.0.9 port 8080',
      'gateway: set server pay/pay-reserve state ready',
      'replaced',
      'stop --time 30 muster-dev-pay-reserve',
      'gateway: set server pay/pay-reserve state maint',
      'rm --force muster-dev-pay-reserve',
    ]);
    t.deepEqual(await reservesLeft(dev, options.signal), []);
  },
);

test.serial('where the gateway that runs has no place for a reserve, none is started', async (t) => {
  const { calls, note } = await fakeDocker(t, world('no place'));
  await withReserve(dev, 'pay', options, () => note('replaced'));
  t.deepEqual(notable(await calls()), ['gateway: get weight pay/pay-reserve', 'replaced']);
});

test.serial(
  'a reserve whose process does not come back serves on, until it is ended as it should be',
  async (t) => {
    const { calls } = await fakeDocker(t, world('a place'));
    await t.throwsAsync(
      withReserve(dev, 'pay', options, () => Promise.reject(new Error('it does not start'))),
      { message: 'it does not start' },
    );
    t.is(notable(await calls()).at(-1), 'gateway: set server pay/pay-reserve state ready');
    t.deepEqual(await reservesLeft(dev, options.signal), ['pay']);
    await endReserve(dev, 'pay', options.signal);
    t.deepEqual(notable(await calls()).slice(-3), [
      'stop --time 30 muster-dev-pay-reserve',
      'gateway: set server pay/pay-reserve state maint',
      'rm --force muster-dev-pay-reserve',
    ]);
  },
);

test.serial(
  'images of reserves go with the secrets that are in them, also when most are not there',
  async (t) => {
    const { calls } = await fakeDocker(t, 'exit 1');
    await removeReserveImages(dev);
    t.regex((await calls())[0]!, /^image rm --force .*muster\/reserve:muster-dev-pay-reserve/);
  },
);
