/** Pictures of dashboards, by Debian's Chromium. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../environment/children.ts';
import { dashboardWidth } from '../workers/views/page.ts';
import { needProgram } from './programs.ts';

/** Path of a Chromium. Throws MUSTER_TOOL_MISSING and MUSTER_ENGINE_INSTALL_FAILED. */
export function findChromium(report: (line: string) => void): Promise<string> {
  return needProgram(
    ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    ['chromium', 'fonts-inter', 'pngquant'],
    'PNGs need it: install it (Debian: apt-get install chromium fonts-inter pngquant), then run this again.',
    report,
  );
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
