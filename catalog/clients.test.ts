import { readFileSync } from 'node:fs';
import test from 'ava';
import { consumerProfile, contractClients, producerProfile } from './clients.ts';

test('the page about clients names each value of the contract beside ours, and which of them differ', (t) => {
  const page = readFileSync(new URL('../docs/kafka-clients.md', import.meta.url), 'utf8');
  const [same, differing] = page.split('What differs:');
  const rows = [
    [contractClients.producer, producerProfile],
    [contractClients.consumer, consumerProfile],
  ] as const;
  for (const [contract, ours] of rows) {
    for (const [name, wanted] of Object.entries(contract)) {
      const has = (ours as Readonly<Record<string, unknown>>)[name];
      const table = has === wanted ? same : differing;
      t.true(table!.includes(`| \`${name}\` | ${wanted} | ${has} |`), `${name}: ${wanted}, ours ${has}`);
    }
  }
});
