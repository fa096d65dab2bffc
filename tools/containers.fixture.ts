/** What tests that start containers of their own beside the deployed environment ask for. */
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../environment/children.ts';
import { type ImageName, imageRef } from '../stacks/images.ts';

/** What `docker` says; throws when it does not go through. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await run('docker', args);
  if (exitCode !== 0) throw new Error(`docker ${args[0]}: ${stderr}`);
  return stdout;
}

/** The name of an image as the engine has it, of whatever source. */
export async function imageOf(image: ImageName): Promise<string> {
  for (const source of ['build', 'registry'] as const) {
    const name = imageRef(image, source)?.name;
    if (name !== undefined && (await run('docker', ['image', 'inspect', name])).exitCode === 0) return name;
  }
  throw new Error(`the engine has no image ${image}`);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Asks until there is something; what it throws meanwhile is "not yet". Fails with `what` after `tries`. */
export const untilFound =
  ({ tries, everyMs }: { readonly tries: number; readonly everyMs: number }) =>
  async <T>(what: string, found: () => Promise<T | undefined | false>): Promise<T> => {
    for (let count = 0; count < tries; count += 1) {
      const value = await found().catch(() => undefined);
      if (value !== undefined && value !== false) return value;
      await sleep(everyMs);
    }
    throw new Error(`never: ${what}`);
  };
