/** Workers in a child process of a test, on a port that stays the same over kill() and start(). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Started. `opensAt`: a path that anybody may GET, which answers once the routes are open. */
export async function spawnWorkers(
  workers: readonly string[],
  env: Readonly<Record<string, string>>,
  opensAt: string,
) {
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  let port = 0;
  let child: ChildProcess | undefined;
  const running = {
    baseUrl: '',
    async start() {
      child = spawn(process.execPath, [main, ...workers], {
        env: { ...process.env, HTTP_PORT: String(port), OTLP_ENDPOINT: '', ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      // Until its end, so that its pipe never is full.
      const lines = createInterface(child.stdout!);
      await new Promise<void>((resolve, reject) => {
        child!.once('exit', (code) => reject(new Error(`${workers.join(', ')} ended with ${code}`)));
        lines.on('line', (line) => {
          const { message, port: listening } = JSON.parse(line) as { message: string; port?: number };
          if (message === 'listening') port = listening!;
          if (message === 'started') resolve();
        });
      });
      running.baseUrl = `http://127.0.0.1:${port}`;
      // `started` is said a moment before the routes are open.
      while (!(await fetch(`${running.baseUrl}${opensAt}`).catch(() => undefined))?.ok)
        await new Promise((resolve) => setTimeout(resolve, 20));
    },
    /** At once, with every connection. */
    async kill() {
      if (child === undefined) return;
      const exited = new Promise((resolve) => child!.once('exit', resolve));
      child.kill('SIGKILL');
      child = undefined;
      await exited;
    },
  };
  await running.start();
  return running;
}
