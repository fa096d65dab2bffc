import test from 'ava';
import { openBrokerAdmin } from '../kafka/broker-admin.ts';
import { testBrokers } from '../kafka/testing.ts';
import { applySettings } from './apply.ts';
import { namesToLookAt, readProperties } from './plan.ts';

// Neither in the catalog, nor noticed by anybody who works on the same cluster meanwhile.
const threads = 'background.threads';
const bytes = 'log.cleaner.io.max.bytes.per.second';
const notOurs = 'max.connection.creation.rate';

test.serial(
  'settings of running brokers are changed on every one, once, and only ours are taken back',
  async (t) => {
    const admin = await openBrokerAdmin({ brokers: testBrokers(), clientId: 'test' });
    const before = await admin.clusterWide();
    // What the deployment has set stays as it is.
    const deployed = [...before].filter(([name]) => before.has(`muster.set.${name}`));
    t.teardown(async () => {
      await admin.change(new Map([[notOurs, undefined]]));
      await applySettings(admin, new Map(deployed), () => {});
      await admin.close();
    });
    await admin.change(new Map([[notOurs, '1000000']]));

    const lines: string[] = [];
    const apply = (own: Readonly<Record<string, string>>) => {
      lines.length = 0;
      return applySettings(admin, new Map([...deployed, ...Object.entries(own)]), (line) => lines.push(line));
    };
    const values = async () => {
      const brokers = await admin.inEffect(
        namesToLookAt(new Map([[threads, '']]), await admin.clusterWide()),
      );
      t.is(brokers.size, 3);
      return [...brokers.values()].map((settings) => settings.get(threads)?.value);
    };
    const [usual] = await values();
    const more = String(Number(usual) * 3);

    await apply({ [threads]: more, [bytes]: '500000000' });
    t.deepEqual(await values(), [more, more, more]);
    t.is((await admin.clusterWide()).get(bytes), '500000000');
    t.true(
      lines.some((line) => line === `+ ${threads}=${Number(usual) * 2}`),
      lines.join('\n'),
    );
    t.true(
      lines.some((line) => line.startsWith(`! ${notOurs}=1000000 `)),
      lines.join('\n'),
    );

    t.deepEqual(await apply({ [threads]: more, [bytes]: '500000000' }), []);
    t.regex(lines.at(-1)!, /nothing to do/);

    await apply({});
    t.deepEqual(await values(), [usual, usual, usual]);
    const after = await admin.clusterWide();
    t.deepEqual(
      [threads, bytes, `muster.set.${threads}`, notOurs].map((name) => after.has(name)),
      [false, false, false, true],
    );
    t.is(after.get(notOurs), '1000000');
  },
);

test.serial('a setting that Kafka refuses changes nothing, and what it says is passed on', async (t) => {
  const admin = await openBrokerAdmin({ brokers: testBrokers(), clientId: 'test' });
  t.teardown(() => admin.close());
  const before = await admin.clusterWide();
  const wanted = readProperties(`${bytes}=500000000\nlog.dirs=/tmp`);
  await t.throwsAsync(admin.change(wanted), { code: 'MUSTER_LIVE_SETTINGS', message: /log\.dirs/ });
  t.deepEqual(await admin.clusterWide(), before);
});
