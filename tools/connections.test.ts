/** What the processes of an environment may open to the database together is less than it gives. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { type Environment, environments } from '../catalog/environments.ts';
import { checkout } from '../environment/paths.ts';
import { renderMyCnf } from '../stacks/config/data.ts';
import { mostConnections } from '../workers/platform/process.ts';
import type { Worker } from '../workers/platform/worker.ts';

/** Of the workers without `kafkaOnly`, those that ask no database all the same. */
const asksNone = ['mysql-guard', 'promotion-join', 'promotion-log', 'traffic', 'webhook-stub', 'bank-stub'];
/** What workers open beside that: the data platform's, one a database for what is promised, the exporter's. */
const besides = 20;

test('all pools of all processes full, the database has connections left', async (t) => {
  const main = await readFile(join(checkout, 'workers/main.ts'), 'utf8');
  const workers = new Map<string, Worker>();
  for (const [, path] of main.matchAll(/import\('\.(\/[^']*worker\.ts)'\)/g))
    for (const one of Object.values((await import(join(checkout, 'workers', path!))) as object))
      if ('name' in one && 'start' in one) workers.set(one.name, one as Worker);
  for (const environment of Object.values<Environment>(environments)) {
    const allowed = Number(/^max_connections=(\d+)$/m.exec(renderMyCnf(environment))![1]);
    const all = environment.processes.list
      .map(({ replicas, gatewayPort, workers: names }) => ({
        // While the only one of its kind is replaced it has a reserve.
        replicas: gatewayPort === undefined ? replicas : Math.max(replicas, 2),
        workers: names
          .flatMap((name) => workers.get(name) ?? [])
          .filter(({ name, kafkaOnly }) => kafkaOnly !== true && !asksNone.includes(name)),
      }))
      .reduce((sum, spec) => sum + spec.replicas * mostConnections(spec.workers), besides);
    t.log(`${environment.name}: ${all} of ${allowed}`);
    t.true(all < allowed, `${environment.name}: ${all} of ${allowed}`);
  }
});
