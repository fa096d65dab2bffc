/** `./muster open`: a page of the environment in the browser. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { paint, say, sayJson, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

/** By platform: the program that opens an address in the person's browser. */
const openers: Readonly<Record<string, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
};

export function addOpen(program: Command): void {
  addVerb<{ json?: boolean }>(program, {
    usage: 'open [page]',
    description: 'open a page in the browser, and print its address; without a page, list them',
    examples: [
      ['open console', 'shop, rush, live outcomes, my-pay, food delivery'],
      ['open', 'which pages there are'],
      ['open --json', 'the same for programs'],
    ],
    exits: ['unavailable'],
    configure: (command) => command.option('--json', 'the list for programs'),
    async run({ environment, signal }, options, [wanted]) {
      const [{ containersOf }, { imagesOf, leftOut, loadedImages }, { pagesOf }, { plainTable, tableText }] =
        await Promise.all([
          import('../../environment/docker.ts'),
          import('../deployment.ts'),
          import('../pages.ts'),
          import('../../drawing/table.ts'),
        ]);
      const images = imagesOf(await containersOf(environment, signal)) ?? 'registry';
      const pages = pagesOf(environment, { images, leftOut: leftOut(images, await loadedImages(images)) });
      if (wanted === undefined && options.json === true) {
        sayJson(pages);
        return undefined;
      }
      if (wanted === undefined) {
        const table = plainTable(['page', 'where', 'what'], [], paint);
        for (const { name, url, title, note } of pages) table.push([name, url, `${title}: ${note}`]);
        say(tableText(table));
        return undefined;
      }
      const page = pages.find(({ name }) => name === wanted);
      if (page === undefined)
        throw usage(`There is no page "${wanted}"; there are ${pages.map(({ name }) => name).join(', ')}.`);
      say(page.url);
      const [program, ...args] = openers[process.platform] ?? ['xdg-open'];
      // It lives on when we have ended. Without a browser on this machine the address is what there is to have.
      const opened = spawn(program, [...args, page.url], { detached: true, stdio: 'ignore' });
      opened.on('error', () => {});
      opened.unref();
      return undefined;
    },
  });
}
