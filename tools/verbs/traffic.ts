/** `./muster traffic`: realistic load on the three ways in. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { MusterError } from '../../workers/platform/errors.ts';
import { parseDurationMs } from '../duration.ts';
import { addVerb } from '../verb.ts';

export function addTraffic(program: Command): void {
  addVerb<{ rate: string; duration?: string; seed?: string; steady?: boolean }>(program, {
    usage: 'traffic',
    description: 'send realistic purchases and acts by API, log file and plain Kafka',
    examples: [
      ['traffic --rate 200', 'until Ctrl-C'],
      ['traffic --rate 50 --duration 2m --seed 7', 'the same messages every time'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .requiredOption('--rate <n>', 'messages a second, purchases and acts together')
        .option('--duration <time>', 'how long: 30s, 5m, 1h; without it until Ctrl-C')
        .option('--seed <n>', 'the same seed gives the same messages')
        .option('--steady', 'evenly instead of in bursts'),
    async run({ environment, signal }, options) {
      const rate = Number(options.rate);
      if (!(rate > 0 && rate <= 100_000))
        throw new MusterError('MUSTER_USAGE', `--rate takes a number above 0, not "${options.rate}".`);
      const seed = options.seed === undefined ? Date.now() % 2 ** 31 : Number(options.seed);
      if (!Number.isInteger(seed))
        throw new MusterError('MUSTER_USAGE', `--seed takes a whole number, not "${options.seed}".`);
      const durationMs = options.duration === undefined ? undefined : parseDurationMs(options.duration);
      const [{ reachFromHost }, { runTraffic }, { kafkaOf }, { stateDirectory }] = await Promise.all([
        import('../../stacks/config/index.ts'),
        import('../../workers/traffic/run.ts'),
        import('../kafka.ts'),
        import('../paths.ts'),
      ]);
      const apiUrl = `http://${reachFromHost(environment, 'api', 'http')}`;
      try {
        await fetch(`${apiUrl}/healthz`, { signal: AbortSignal.timeout(5_000) });
      } catch {
        throw new MusterError(
          'MUSTER_UNAVAILABLE_API',
          `The API does not answer at ${apiUrl}. Start it: ./muster --env ${environment.name} up.`,
        );
      }
      const kafka = kafkaOf(environment);
      const live = process.stdout.isTTY;
      let toldAtMs = 0;
      try {
        const report = await runTraffic({
          apiUrl,
          rate,
          seed,
          kafka: await kafka.producer('traffic'),
          logDirectory: join(stateDirectory(environment.name), 'log-inbox'),
          signal,
          ...(durationMs === undefined ? {} : { durationMs }),
          ...(options.steady === true ? { steady: true } : {}),
          onProgress({ elapsedMs, sent, acked, failed, sentBy }) {
            if (!live && elapsedMs - toldAtMs < 10_000) return;
            toldAtMs = elapsedMs;
            const perSecond = elapsedMs === 0 ? 0 : (sent * 1000) / elapsedMs;
            const line = `${(elapsedMs / 1000).toFixed(0)} s · ${sent} sent (${perSecond.toFixed(0)}/s: api ${sentBy.api}, log ${sentBy.log}, kafka ${sentBy.kafka}) · ${acked} acked · ${failed} failed`;
            process.stdout.write(live ? `\r\u001B[K${line}` : `${line}\n`);
          },
        });
        if (live) process.stdout.write('\n');
        const { apiAckMs } = report;
        const ack =
          apiAckMs === undefined
            ? ''
            : `; API ack p50 ${apiAckMs.p50} ms, p99 ${apiAckMs.p99} ms, max ${apiAckMs.max} ms`;
        process.stdout.write(
          `${report.sent} sent, ${report.acked} acked, ${report.failed} failed, ${report.unexpected} answered wrongly${ack}\n`,
        );
        for (const [problem, count] of Object.entries(report.problems))
          process.stdout.write(`  ${count} x ${problem}\n`);
        return report.failed + report.unexpected > 0 ? 'failed' : undefined;
      } finally {
        await kafka.close();
      }
    },
  });
}
