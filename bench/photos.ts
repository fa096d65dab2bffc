/**
 * Photos: how long an upload takes until it is made anew and kept, and what it takes of memory.
 *
 * `./muster bench photos -- [--at-once=10] [--uploads=200] [--megabytes=5]`
 *
 * Needs nothing deployed. Uploads of a photo of 12 million pixels (noise, so that it has its size) from this process to one of its
 * own, with the settings of the environment's, so many at a time. Memory: the highest of that process (VmHWM) over what it had when
 * it had started, and over what it has between loads. `whole` is the same with progressive photos, which are decoded whole.
 */
import { fork } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pause } from '../environment/interruption.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';
import { formOf, photoOf } from './common/photo.ts';

export async function run({ args, signal, environment }: BenchOptions): Promise<void> {
  const { number } = optionsOf(args);
  const [atOnce, uploads, megabytes] = [
    number('at-once', 10),
    number('uploads', 200),
    number('megabytes', 5),
  ];
  const folder = await mkdtemp(join(tmpdir(), 'bench-photos-'));
  const deployed = environment.processes.list.find(({ workers }) => workers.includes('delivery-photos'));
  const server = fork(fileURLToPath(new URL('./common/photo-server.ts', import.meta.url)), [folder], {
    // As workers/main.ts begins.
    execArgv: ['--semi-space-growth-factor=1'],
    env: { ...process.env, ...deployed?.env },
  });
  try {
    const { port } = await new Promise<{ port: number }>((resolve) =>
      server.once('message', resolve as never),
    );
    await pause(2_000, signal);
    const started = await memoryOf(server.pid!, 'VmRSS');
    const figures: Record<string, object> = {};
    for (const [kind, progressive] of [
      ['usual', false],
      ['whole', true],
    ] as const) {
      const body = formOf(await photoOf(megabytes, progressive, signal));
      await send(port, body, { atOnce: 2, uploads: 10, signal });
      await pause(2_000, signal);
      const idle = await memoryOf(server.pid!, 'VmRSS');
      await writeFile(`/proc/${server.pid}/clear_refs`, '5');
      const ms = await send(port, body, { atOnce, uploads, signal });
      const highest = await memoryOf(server.pid!, 'VmHWM');
      figures[kind] = {
        photoBytes: body.length,
        p50Ms: at(ms, 0.5),
        p99Ms: at(ms, 0.99),
        startedMiB: Math.round(started),
        idleMiB: Math.round(idle),
        moreThanIdleMiB: Math.round(highest - idle),
        moreThanStartedMiB: Math.round(highest - started),
      };
      say(`${kind}: ${JSON.stringify(figures[kind])}`);
    }
    writeReport('photos', { ...context(), atOnce, uploads, ...figures });
  } finally {
    server.kill();
    await rm(folder, { recursive: true });
  }
}

/** How long each took, ms, in ascending order. */
async function send(
  port: number,
  body: Buffer,
  options: { readonly atOnce: number; readonly uploads: number; readonly signal: AbortSignal },
): Promise<readonly number[]> {
  const { atOnce, uploads, signal } = options;
  const tookMs: number[] = [];
  let left = uploads;
  const one = async () => {
    while (left-- > 0 && !signal.aborted) {
      const beganMs = performance.now();
      const answer = await fetch(`http://127.0.0.1:${port}/photos`, {
        method: 'POST',
        headers: { 'content-type': 'multipart/form-data; boundary=b' },
        body: body as never,
      });
      if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
      await answer.arrayBuffer();
      tookMs.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return tookMs.toSorted((a, b) => a - b);
}

const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!);

/** MiB. */
async function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1_024;
}
