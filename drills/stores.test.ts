import test from 'ava';
import { paths } from '../stacks/config/paths.ts';
import type { Settings } from './stand-in.ts';
import { emptyRedis, fullMysqlDisk, refuseWrites } from './stores.ts';

const settings: Settings = {
  Config: { Hostname: 'mysql-1' },
  HostConfig: {
    Memory: 671_088_640,
    NanoCpus: 0,
    CapDrop: null,
    SecurityOpt: null,
    Ulimits: null,
    RestartPolicy: { Name: 'unless-stopped' },
    LogConfig: { Type: 'json-file', Config: null },
    PortBindings: null,
  },
  Mounts: [
    { Type: 'volume', Name: 'data', Source: '/docker/data', Destination: paths.mysqlVolume, RW: true },
  ],
};
const said = (plan: ReturnType<typeof refuseWrites>) => ({
  steps: plan.steps.map(({ docker }) => docker.join(' ')),
  heal: plan.heal.map((args) => args.join(' ')),
});

test('a store that refuses to write takes it back, and the others are no stores', (t) => {
  const mysql = said(refuseWrites('muster-ci-mysql-1'));
  t.regex(mysql.steps[0]!, /^exec muster-ci-mysql-1 .*SET GLOBAL read_only = 1$/);
  t.regex(mysql.heal[0]!, /^exec muster-ci-mysql-1 .*SET GLOBAL read_only = 0$/);
  const redis = said(refuseWrites('muster-ci-redis'));
  t.regex(redis.steps[0]!, /CONFIG SET min-replicas-to-write 1$/);
  t.regex(redis.heal[0]!, /CONFIG SET min-replicas-to-write 0$/);
  t.regex(emptyRedis('muster-ci-redis').join(' '), /FLUSHALL$/);
  t.throws(() => refuseWrites('muster-ci-kafka-1'), { code: 'MUSTER_FAULT_TARGET' });
});

test('MySQL’s data moves to the small disk before it is full, and back before it starts on its own', (t) => {
  const networks = [{ name: 'muster-ci', aliases: ['mysql-1'] }];
  const { steps, heal } = said(fullMysqlDisk('muster-ci-mysql-1', settings, networks));
  const at = (list: readonly string[], pattern: RegExp) => list.findIndex((line) => pattern.test(line));
  const copied = /^exec muster-ci-mysql-1-stand-in-disk .*cp -a.* sh (\S+) (\S+)$/;
  const order = [
    at(steps, /^stop .* muster-ci-mysql-1$/),
    at(steps, copied),
    at(steps, /^start muster-ci-mysql-1-stand-in$/),
    at(steps, /^exec muster-ci-mysql-1-stand-in .*ping/),
    at(steps, /^exec muster-ci-mysql-1-stand-in-disk .*\/dev\/zero/),
  ];
  t.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  t.false(order.includes(-1));
  t.is(order.at(-1), steps.length - 1);
  const back = [
    at(heal, /^exec muster-ci-mysql-1-stand-in-disk .*rm -f/),
    at(heal, /^stop .* muster-ci-mysql-1-stand-in$/),
    at(heal, copied),
    at(heal, /^rm --force muster-ci-mysql-1-stand-in-disk$/),
    at(heal, /^start muster-ci-mysql-1$/),
  ];
  t.deepEqual(
    back,
    [...back].sort((a, b) => a - b),
  );
  t.false(back.includes(-1));
  const [, to, from] = copied.exec(steps[order[1]!]!)!;
  const [, toOwn, fromSmall] = copied.exec(heal[back[2]!]!)!;
  t.deepEqual([toOwn, fromSmall], [from, to]);
});
