/** Pictures of dashboards, by Debian's Chromium. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { dashboardWidth } from '../drawing/page.ts';
import { run } from '../environment/children.ts';
import { withLock } from '../environment/lock.ts';
import { MusterError } from '../workers/base/errors.ts';
import { aptInstall, isDebianFamily } from './engine.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function installed(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/bin', '/snap/bin'];
  return folders
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path));
}

/**
 * Path of a Chromium: the installed one, else as root on Debian or Ubuntu the one that is installed now.
 * Throws MUSTER_TOOL_MISSING (there is none and none may be installed here), MUSTER_ENGINE_INSTALL_FAILED (apt failed).
 */
export async function findChromium(report: (line: string) => void): Promise<string> {
  const present = installed();
  if (present !== undefined) return present;
  const osRelease = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (process.getuid?.() === 0 && isDebianFamily(osRelease))
    await withLock(
      'apt',
      async () => {
        if (installed() === undefined) await aptInstall(['chromium', 'fonts-inter', 'pngquant'], report);
      },
      report,
    );
  const found = installed();
  if (found === undefined)
    throw new MusterError(
      'MUSTER_TOOL_MISSING',
      'PNGs need Chromium, which is not installed. Install it (Debian: apt-get install chromium fonts-inter pngquant), then run this again.',
    );
  return found;
}

/**
 * A PNG of each section `ids` of the page, in `folder` as `<name>.png`; dark like Grafana, or light.
 * @param html a page of ours
 */
export async function takePictures(
  html: string,
  pictures: readonly { readonly id: string; readonly name: string }[],
  folder: string,
  { chromium, theme }: { readonly chromium: string; readonly theme: 'dark' | 'light' },
): Promise<readonly string[]> {
  const { chromium: driver } = await import('playwright-core');
  await mkdir(folder, { recursive: true });
  // Root may not use Chromium's sandbox; the page is ours and asks for nothing.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await driver.launch({ executablePath: chromium, args });
  try {
    const page = await browser.newPage({
      colorScheme: theme,
      viewport: { width: dashboardWidth + 32, height: 900 },
    });
    await page.setContent(html, { waitUntil: 'load' });
    const files: string[] = [];
    for (const { id, name } of pictures) {
      const path = join(folder, `${name}.png`);
      await page.locator(`[id="${id}"]`).screenshot({ path, animations: 'disabled' });
      await shrink(path);
      files.push(path);
    }
    return files;
  } finally {
    await browser.close();
  }
}

/** A palette of 64 colours is enough for charts, and a third of the size. Without pngquant it stays as it is. */
async function shrink(path: string): Promise<void> {
  const program = '/usr/bin/pngquant';
  if (!existsSync(program)) return;
  await run(program, [
    '--force',
    '--skip-if-larger',
    '--strip',
    '--nofs',
    '--speed',
    '1',
    '--output',
    path,
    '64',
    '--',
    path,
  ]);
}
