/** A docker for tests that do not need one: a script in its place answers, and each call is a line. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Until the test ends. The script is bash; `$*` are the arguments, and it is run in a folder of its own. */
export async function fakeDocker(
  t: { teardown(end: () => Promise<void>): void },
  script: string,
): Promise<{ readonly calls: () => Promise<readonly string[]>; note(line: string): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-docker-'));
  const [file, log, path] = [join(folder, 'docker'), join(folder, 'calls'), process.env.PATH];
  await writeFile(file, `#!/bin/bash\ncd ${folder}\necho "$*" >> calls\n${script}\n`);
  await chmod(file, 0o755);
  process.env.PATH = `${folder}:${path}`;
  t.teardown(async () => {
    process.env.PATH = path;
    await rm(folder, { recursive: true });
  });
  return {
    calls: async () => (await readFile(log, 'utf8')).trim().split('\n'),
    note: (line) => writeFile(log, `${line}\n`, { flag: 'a' }),
  };
}
