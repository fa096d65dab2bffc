/** Programs for tests that do not need real ones: scripts in their place answer, and each call is a line. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Until the test ends. Scripts are bash; `$*` are the arguments, and all run in one folder of their own. */
export async function fakePrograms(
  t: { teardown(end: () => Promise<void>): void },
  scripts: Readonly<Record<string, string>>,
): Promise<{
  readonly folder: string;
  /** `docker ps --all`, one after the other. */
  readonly calls: () => Promise<readonly string[]>;
  note(line: string): Promise<void>;
}> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-programs-'));
  const [log, path] = [join(folder, 'calls'), process.env.PATH];
  for (const [name, script] of Object.entries(scripts)) {
    const file = join(folder, name);
    await writeFile(file, `#!/bin/bash\ncd ${folder}\necho "${name} $*" >> calls\n${script}\n`);
    await chmod(file, 0o755);
  }
  process.env.PATH = `${folder}:${path}`;
  t.teardown(async () => {
    process.env.PATH = path;
    await rm(folder, { recursive: true });
  });
  return {
    folder,
    calls: async () => (await readFile(log, 'utf8')).trim().split('\n'),
    note: (line) => writeFile(log, `${line}\n`, { flag: 'a' }),
  };
}
