/** `./muster dashboards`: dashboards with live data where there is no Grafana. */
import type { Command } from 'commander';
import { parseDurationMs, say, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

interface Options {
  out: string;
  range: string;
  png?: boolean;
  theme: string;
  only?: string;
  prometheus?: string;
}

export function addDashboards(program: Command): void {
  const dashboards = program
    .command('dashboards')
    .description('dashboards with live data, drawn without Grafana')
    .addHelpText(
      'after',
      '\nExamples:\n  $ ./muster dashboards preview\n\n./muster dashboards preview --help shows the options and exit codes.',
    );

  addVerb<Options>(dashboards, {
    usage: 'preview',
    description: 'draw every dashboard to one HTML page that needs nothing else, and to PNGs',
    examples: [
      ['dashboards preview', 'build/preview/index.html, the last 30 minutes'],
      ['--env ci dashboards preview --range 2h --png', 'and a picture of each dashboard'],
      ['dashboards preview --only overview,lag', 'two of them'],
      ['dashboards preview --prometheus http://10.0.0.5:9090', 'of a cluster that is not ours'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--out <folder>', 'where to write', 'build/preview')
        .option('--range <time>', 'how far back: 90s, 30m, 6h', '30m')
        .option('--png', 'pictures too; needs Chromium (installed when run as root on Debian or Ubuntu)')
        .option(
          '--theme <theme>',
          'of the pictures: dark or light; the page is as the reader’s system',
          'dark',
        )
        .option('--only <names>', 'some dashboards, by comma')
        .option('--prometheus <url>', "another Prometheus than the environment's"),
    async run({ environment, signal }, options) {
      const { theme } = options;
      if (theme !== 'dark' && theme !== 'light') throw usage(`"${theme}" is no theme; write dark or light.`);
      const [{ mkdir, writeFile }, { join, resolve }, preview] = await Promise.all([
        import('node:fs/promises'),
        import('node:path'),
        import('../../drawing/index.ts'),
      ]);
      const toMs = Date.now();
      const window = { fromMs: toMs - parseDurationMs(options.range), toMs };
      const slugs = options.only?.split(',') ?? preview.dashboardSlugs(environment);
      const { prometheus: prometheusUrl } = options;
      const drawn = await preview.drawDashboards(environment, {
        window,
        dashboards: slugs,
        prometheusUrl,
        signal,
      });
      const until = `${new Date(toMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
      const html = preview.pageOf(
        `muster ${environment.name}`,
        `the ${options.range} until ${until}, drawn without Grafana`,
        drawn,
      );
      const folder = resolve(options.out);
      await mkdir(folder, { recursive: true });
      const page = join(folder, 'index.html');
      await writeFile(page, html);
      say(page);
      for (const { title, panels } of drawn) {
        const empty = panels.filter((panel) => panel.empty).map(({ panel }) => panel.title);
        if (empty.length > 0) say(`  no data in ${title}: ${empty.join(', ')}`);
      }
      if (options.png !== true) return undefined;
      const { findChromium, takePictures } = await import('../png.ts');
      const chromium = await findChromium((line) => process.stderr.write(`${line}\n`));
      const pictures = drawn.map(({ uid }, index) => ({ id: uid, name: slugs[index]! }));
      for (const file of await takePictures(html, pictures, folder, { chromium, theme })) say(file);
      return undefined;
    },
  });
}
