/**
 * One-shot: `node workers/live-settings/main.ts <file>` with KAFKA_BROKERS. Changes settings of running brokers to what the file
 * says, and prints what it does. Exit 0 also when there is nothing to do, 1 when Kafka refuses, 64 for a wrong call.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { MusterError } from '../base/errors.ts';
import { runOneShot } from '../base/one-shot.ts';
import { openBrokerAdmin } from '../kafka/broker-admin.ts';
import { applySettings } from './apply.ts';
import { readProperties } from './plan.ts';

const usage = 'usage: KAFKA_BROKERS=host:port,... node workers/live-settings/main.ts <live.properties>';

const tryForMs = 60_000;

async function main(): Promise<number> {
  const [file, ...more] = process.argv.slice(2);
  const brokers = process.env.KAFKA_BROKERS?.split(',').filter((address) => address !== '') ?? [];
  if (file === undefined || more.length > 0 || brokers.length === 0) {
    console.error(usage);
    return 64;
  }
  const wanted = readProperties(readFileSync(file, 'utf8'));
  // A broker that takes network threads away closes the connections that they had: all is asked again, which is safe.
  for (const giveUpAt = Date.now() + tryForMs; ; await sleep(500)) {
    const admin = await openBrokerAdmin({ brokers, clientId: 'muster-live-settings' });
    try {
      await applySettings(admin, wanted, (line) => console.log(line));
      return 0;
    } catch (error) {
      if (error instanceof MusterError || Date.now() > giveUpAt) throw error;
      console.log(`! ${(error as Error).message}; trying again`);
    } finally {
      await admin.close();
    }
  }
}

await runOneShot(main);
