import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import {
  createTopics,
  eventually,
  removeTopics,
  testBrokers,
  testKafka,
  uniqueName,
} from '../kafka/testing.ts';
import { openTopicAdmin } from '../kafka/topic-admin.ts';
import { applyPlan, showPlan } from './apply.ts';

test('apply creates, alters and raises only when told to, keeps foreign settings, and has nothing left to do', async (t) => {
  const fresh = uniqueName('fresh');
  const old = uniqueName('old');
  const made = await createTopics([{ name: old, partitions: 1 }]);
  const kafka = testKafka();
  const admin = await openTopicAdmin({ brokers: testBrokers(), clientId: 'test' });
  t.teardown(async () => {
    await admin.close();
    await kafka.close();
    await made.remove();
    await removeTopics([fresh]);
  });
  await admin.replaceConfig(old, { 'min.insync.replicas': '1', 'max.message.bytes': '500000' });
  const config = { 'min.insync.replicas': '2', 'retention.ms': '3600000' };
  const wanted = [
    { name: fresh, partitions: 3, replicationFactor: 3, config },
    { name: old, partitions: 4, replicationFactor: 3, config },
  ];
  const lines: string[] = [];
  const options = {
    brokers: testBrokers(),
    environment: environments.ci,
    print: (line: string) => lines.push(line),
    wanted,
  };
  const ours = (plan: { steps: readonly { kind: string }[] }) => plan.steps.map(({ kind }) => kind).sort();

  t.deepEqual(ours(await showPlan(options)), ['alter-config', 'create']);
  t.false(
    (await admin.describe()).some(({ name }) => name === fresh),
    'a plan changes nothing',
  );
  await applyPlan(options);
  t.true(lines.some((line) => line.includes(`create ${fresh}`)));
  const now = new Map((await admin.describe()).map((topic) => [topic.name, topic]));
  t.is(now.get(fresh)!.partitions, 3);
  t.is(now.get(fresh)!.replicationFactor, 3);
  t.deepEqual(now.get(fresh)!.config, config);
  t.is(now.get(old)!.partitions, 1);
  t.deepEqual(now.get(old)!.config, { ...config, 'max.message.bytes': '500000' });

  const second = await applyPlan(options);
  t.deepEqual(second.steps, []);
  t.true(second.drift.some(({ name, what }) => name === old && what.includes('--raise-partitions')));
  t.deepEqual(ours(await applyPlan({ ...options, raisePartitions: true })), ['raise-partitions']);
  await eventually(
    'four partitions are seen',
    async () => (await kafka.admin.partitionCounts([old])).get(old) === 4,
  );
});
