/** `./muster status`: is it well, and where is what. */
import type { Command } from 'commander';
import { colour, paint, say, sayJson, withEnvironment } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addStatus(program: Command): void {
  addVerb<{ json?: boolean }>(program, {
    usage: 'status',
    description:
      'what runs, how healthy it is, where it can be reached; brokers, lag and flow; what is promised',
    examples: [
      ['status', 'environment dev'],
      ['--env ci status', 'another environment'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) => command.option('--json', 'for programs'),
    async run({ environment, signal }, options) {
      const [
        { containersOf, memoryUsed },
        table,
        { clusterState, flowOf, kafkaOf, lagOf },
        health,
        deployment,
        { promisesOf },
        { promiseLine, promiseProblems },
        { backupOf },
        { guardOf },
      ] = await Promise.all([
        import('../../environment/docker.ts'),
        import('../status-table.ts'),
        import('../../environment/kafka.ts'),
        import('../../environment/health.ts'),
        import('../deployment.ts'),
        import('../../environment/promises.ts'),
        import('../promise-table.ts'),
        import('../../environment/backup.ts'),
        import('../../environment/guard.ts'),
      ]);
      const containers = await containersOf(environment, signal);
      if (containers.length === 0) {
        const problem = `Environment ${environment.name} is not up. Start it: ./muster --env ${environment.name} up`;
        if (options.json === true)
          sayJson({ environment: environment.name, healthy: false, problems: [problem], parts: [] });
        else say(problem);
        return 'failed';
      }
      const kafka = kafkaOf(environment);
      try {
        const images = deployment.imagesOf(containers) ?? 'registry';
        const running = containers.filter(({ state }) => state === 'running');
        const [memory, ready, cluster, loaded, promises, backup, guard] = await Promise.all([
          memoryUsed(running, signal).catch(() => new Map<string, number>()),
          health.readiness(environment, containers),
          clusterState(environment).catch((error: Error) => error),
          deployment.loadedImages(images),
          promisesOf(environment, containers).catch((error: Error) => error),
          backupOf(environment, containers).catch((error: Error) => error),
          guardOf(environment, containers).catch((error: Error) => error),
        ]);
        const parts = table.partsOf(environment, containers, {
          memory,
          nowMs: Date.now(),
          leftOut: deployment.leftOut(images, loaded),
          ready,
        });
        const known = !(cluster instanceof Error);
        const complete = known && cluster.missingTopics.length === 0;
        const flow = complete ? await flowOf(kafka, 2_000).catch(() => new Map<string, number>()) : undefined;
        const lag = complete ? await lagOf(kafka).catch(() => undefined) : undefined;
        const problems = [
          ...parts.flatMap(({ problem }) => problem ?? []),
          ...(known ? table.clusterProblems(cluster) : [cluster.message]),
          ...promiseProblems(promises),
          ...table.guardProblems(guard),
          ...table.backupProblems(backup),
        ].map((problem) => withEnvironment(problem, environment));
        if (options.json === true) {
          const facts = { environment: environment.name, healthy: problems.length === 0, problems, parts };
          const told = {
            promises: promises instanceof Error ? 'not checked' : promises,
            backup: backup instanceof Error ? 'not known' : backup,
            mysql: guard instanceof Error ? 'not known' : guard,
          };
          const kafkaFacts = known ? { cluster, lag, messagesPerSecond: Object.fromEntries(flow ?? []) } : {};
          sayJson({ ...facts, ...told, ...kafkaFacts });
        } else {
          const used = [...memory.values()].reduce((sum, bytes) => sum + bytes, 0);
          const summary = `${running.length} containers, ${(used / 1024 ** 3).toFixed(1)} GiB in use`;
          say(`${paint('bold', `environment ${environment.name}`)} · images: ${images} · ${summary}\n`);
          say(`${table.renderParts(parts, colour)}\n`);
          if (known) say(table.renderCluster(cluster, lag, flow ?? new Map(), colour));
          say(`${paint('dim', 'promises     ')}  ${promiseLine(promises)}`);
          say(`${paint('dim', 'mysql        ')}  ${table.guardLine(guard)}`);
          say(`${paint('dim', 'backup       ')}  ${table.backupLine(backup, Date.now())}\n`);
          if (problems.length === 0) say(paint('green', 'All is well.'));
          else for (const problem of problems) say(`${paint('red', '✖')} ${problem}`);
        }
        return problems.length === 0 ? 'ok' : 'failed';
      } finally {
        await kafka.close();
      }
    },
  });
}
