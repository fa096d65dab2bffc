/**
 * Puts every image that an environment needs into the engine, with several builds side by side.
 *
 * What is to be done is a small graph of jobs: an image waits for the one it stands on and for its artifacts. Short,
 * network-bound jobs run at once; the Go builds run below them at low priority and one after the other.
 */

import { cp, link, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import type { ListrTask } from 'listr2';
import type { ImageSource } from '../catalog/environments.ts';
import { withLock } from '../environment/lock.ts';
import { checkout } from '../environment/paths.ts';
import { cmak, debianImage, type LocalImage, localImages, officialImages } from '../stacks/images.ts';
import { MusterError } from '../workers/base/errors.ts';
import {
  importDebian,
  jaegerBinary,
  mavenJars,
  productionModules,
  type Report,
  run,
  victorialogsBinary,
  withTemporaryFolder,
} from './artifacts.ts';
import { terraformConfigFile } from './provider.ts';

export interface ImageOptions {
  /** Engine to put the images into (DOCKER_HOST form). */
  readonly dockerHost: string;
  /** Also prepare Terraform's docker provider (default true): its Go build is the longest job of a cold start. */
  readonly provider?: boolean;
}

/** One thing to do; `start` may be called often and does it once. */
export interface ImageJob {
  readonly title: string;
  start(report: Report): Promise<void>;
}

function job(title: string, needs: readonly ImageJob[], action: (report: Report) => Promise<void>): ImageJob {
  let running: Promise<void> | undefined;
  const listeners = new Set<Report>();
  const tell = (line: string) => {
    for (const listener of listeners) listener(line);
  };
  return {
    title,
    start(report) {
      listeners.add(report);
      running ??= (async () => {
        if (needs.length > 0) {
          tell(`waiting for ${needs.map(({ title }) => title).join(', ')}`);
          await Promise.all(needs.map((need) => need.start(() => {})));
        }
        await action(tell);
      })();
      return running;
    },
  };
}

/** Names of the images in an engine that a set of references asks for. */
async function present(dockerHost: string, references: readonly string[]): Promise<Set<string>> {
  const result = await execa('docker', ['images', '--format', '{{.Repository}}:{{.Tag}}'], {
    env: { DOCKER_HOST: dockerHost },
  });
  const all = new Set(result.stdout.split('\n'));
  return new Set(references.filter((reference) => all.has(reference)));
}

/**
 * How `docker build` works with the client on PATH. With the buildx plugin BuildKit builds, in the engine itself (the
 * `default` builder sees the engine's images). Without it only the classic builder works in every client and engine.
 */
async function builder(): Promise<{ args: readonly string[]; env: Readonly<Record<string, string>> }> {
  const buildx = await execa('docker', ['buildx', 'version'], { reject: false });
  return buildx.exitCode === 0
    ? {
        args: ['buildx', 'build', '--builder', 'default', '--load', '--progress', 'plain'],
        env: { DOCKER_BUILDKIT: '1' },
      }
    : { args: ['build', '--force-rm'], env: { DOCKER_BUILDKIT: '0' } };
}

/** Copies a tree without copying contents where the file system allows links (same disk). */
async function place(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await place(source, target);
    else if (entry.isFile()) await link(source, target).catch(() => cp(source, target));
    else await cp(source, target, { verbatimSymlinks: true });
  }
}

/** Adds to a build context what is neither in the image's folder nor in the checkout's listed files. */
const extras: Partial<
  Record<LocalImage['image'], (context: string, source: ImageSource, report: Report) => Promise<void>>
> = {
  kafka: async (context, source, report) => {
    if (source === 'build') await place(await mavenJars('kafka', report), context);
  },
  zookeeper: async (context, _source, report) => place(await mavenJars('zookeeper', report), context),
  jaeger: async (context, _source, report) => place(await jaegerBinary(report), context),
  victorialogs: async (context, source, report) => {
    if (source === 'build') await place(await victorialogsBinary(report), context);
  },
  'worker-base': async (context, source, report) => {
    const app = join(context, 'app');
    if (source === 'build') {
      if (process.platform !== 'linux') {
        throw new MusterError(
          'MUSTER_BUILD_FAILED',
          'image source `build` puts this machine’s Node into the image, so it works on Linux only. Use --images registry.',
        );
      }
      await place(await productionModules(report), app);
      await cp(join(checkout, 'node_modules/node/bin/node'), join(context, 'node'));
    } else {
      await mkdir(app);
      for (const file of ['package.json', 'package-lock.json'])
        await cp(join(checkout, file), join(app, file));
    }
  },
};

async function buildImage(
  image: LocalImage,
  source: ImageSource,
  options: ImageOptions,
  report: Report,
): Promise<void> {
  const { dockerHost } = options;
  const { parent } = image;
  const parentTag =
    'ref' in parent
      ? parent.ref
      : String(localImages(source).find((candidate) => candidate.image === parent.image)?.tag);
  await withTemporaryFolder(async (temporary) => {
    const context = join(temporary, 'context');
    await cp(join(checkout, image.folder), context, { recursive: true });
    for (const file of image.files) {
      const target = join(context, 'app', file);
      await mkdir(dirname(target), { recursive: true });
      await cp(join(checkout, file), target);
    }
    await extras[image.image]?.(context, source, report);
    await withLock(
      image.tag.replace(':', '-'),
      async () => {
        if ((await present(dockerHost, [image.tag])).has(image.tag)) return;
        report('docker build');
        const { args, env } = await builder();
        // Proxy settings reach the build by Docker's predefined arguments, which leave no trace in the image.
        const proxies = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
        const buildArgs = proxies
          .filter((name) => process.env[name])
          .flatMap((name) => ['--build-arg', name]);
        await run(
          'docker',
          [
            ...args,
            '--label',
            `muster.image=${image.image}`,
            '--build-arg',
            `PARENT=${parentTag}`,
            ...buildArgs,
            '--file',
            join(checkout, image.dockerfile),
            '--tag',
            image.tag,
            context,
          ],
          { report, env: { ...env, DOCKER_HOST: dockerHost } },
        );
      },
      report,
    );
  });
}

async function pull(reference: string, dockerHost: string, report: Report): Promise<void> {
  await run('docker', ['pull', reference], { report, env: { DOCKER_HOST: dockerHost } });
}

/** The Debian base: pulled where that works, else made here. */
async function prepareDebian(dockerHost: string, report: Report): Promise<void> {
  const env = { DOCKER_HOST: dockerHost };
  if (!(await present(dockerHost, [debianImage.ref])).has(debianImage.ref)) {
    report(`docker pull ${debianImage.ref}`);
    const pulled = await execa('docker', ['pull', '--quiet', debianImage.ref], {
      reject: false,
      timeout: 120_000,
      env,
    });
    if (pulled.exitCode !== 0) return importDebian(dockerHost, report);
  }
  await execa('docker', ['tag', debianImage.ref, debianImage.tag], { env });
}

/** CMAK under its local name, from the first reference that can be pulled; from none, and it is done without. */
async function prepareCmak(dockerHost: string, report: Report): Promise<void> {
  for (const candidate of cmak.candidates) {
    try {
      await pull(candidate, dockerHost, report);
    } catch {
      continue;
    }
    await execa('docker', ['tag', candidate, cmak.tag], { env: { DOCKER_HOST: dockerHost } });
    return;
  }
}

/** What has to be done so that everything of a source is there; empty of images when all of them are. */
export async function imageJobs(source: ImageSource, options: ImageOptions): Promise<readonly ImageJob[]> {
  const { dockerHost } = options;
  const locals = localImages(source);
  const pulled = source === 'registry' ? officialImages() : [];
  const there = await present(dockerHost, [
    ...locals.map(({ tag }) => tag),
    ...pulled,
    debianImage.tag,
    cmak.tag,
  ]);
  const jobs: ImageJob[] = [];
  if (options.provider !== false) {
    jobs.push(
      job('Terraform docker provider', [], async (report) => {
        await terraformConfigFile(source, report);
      }),
    );
  }
  for (const reference of pulled.filter((name) => !there.has(name))) {
    jobs.push(job(reference, [], (report) => pull(reference, dockerHost, report)));
  }
  if (source === 'registry' && !there.has(cmak.tag)) {
    jobs.push(job('CMAK', [], (report) => prepareCmak(dockerHost, report)));
  }
  // An image that only others stand on is needed only while one of those is missing.
  const needed = new Set(locals.filter(({ tag }) => !there.has(tag)).map(({ image }) => image));
  const standsOnMissing = (image: string): boolean =>
    locals.some(
      ({ image: child, parent }) => needed.has(child) && 'image' in parent && parent.image === image,
    );
  for (const image of ['worker-base', 'java', 'base'] as const)
    if (!standsOnMissing(image)) needed.delete(image);

  const debian = job('Debian base', [], (report) => prepareDebian(dockerHost, report));
  if (source === 'build' && needed.has('base') && !there.has(debianImage.tag)) jobs.push(debian);
  const byImage = new Map<string, ImageJob>();
  for (const image of locals) {
    if (!needed.has(image.image)) continue;
    const { parent } = image;
    const stands = 'image' in parent ? byImage.get(parent.image) : jobs.includes(debian) ? debian : undefined;
    // Its own downloads need not wait for the parent image: they are fetched while that is built.
    const fetch = ahead(image, source);
    const fetching = fetch === undefined ? [] : [job(`files of ${image.image}`, [], fetch)];
    const build = job(
      `image ${image.image}`,
      [...fetching, ...(stands === undefined ? [] : [stands])],
      (report) => buildImage(image, source, options, report),
    );
    byImage.set(image.image, build);
    jobs.push(...fetching, build);
  }
  return jobs;
}

/** Downloads and builds outside the engine that an image needs. */
function ahead(image: LocalImage, source: ImageSource): ((report: Report) => Promise<void>) | undefined {
  if (source !== 'build') return undefined;
  const makers: Partial<Record<LocalImage['image'], (report: Report) => Promise<unknown>>> = {
    kafka: (report) => mavenJars('kafka', report),
    zookeeper: (report) => mavenJars('zookeeper', report),
    jaeger: jaegerBinary,
    victorialogs: victorialogsBinary,
    'worker-base': productionModules,
  };
  const make = makers[image.image];
  return make === undefined
    ? undefined
    : async (report) => {
        await make(report);
      };
}

/**
 * The jobs as listr2 tasks that run side by side, each with a live line. For composing into `up`:
 * `new Listr([{ title: 'Images', task: async (_, task) => task.newListr(await imageTasks(...), { concurrent: true }) }])`.
 */
export async function imageTasks(source: ImageSource, options: ImageOptions): Promise<ListrTask[]> {
  const jobs = await imageJobs(source, options);
  return jobs.map(({ title, start }) => ({
    title,
    task: (_context: unknown, task: { output: string }) =>
      start((line) => {
        task.output = line;
      }),
  }));
}

/** How many versions of each image of ours stay: the current one, and two for checkouts that are switched between. */
const keptVersions = 3;

/**
 * Removes old versions of our images so that disks do not fill. What a container uses stays, and so do the newest
 * three of each name. Call after a successful `up`; never fails.
 */
export async function pruneImages(dockerHost: string): Promise<void> {
  const env = { DOCKER_HOST: dockerHost };
  // `docker images` lists the newest first.
  const list = await execa(
    'docker',
    ['images', '--filter', 'label=muster.image', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}'],
    { reject: false, env },
  );
  const current = new Set([...localImages('build'), ...localImages('registry')].map(({ tag }) => tag));
  const old = outdatedTags(
    list.stdout.split('\n').map((line) => line.split(' ')[0] ?? ''),
    current,
    keptVersions,
  );
  // Not forced: the engine refuses what a container uses.
  if (old.length > 0) await execa('docker', ['image', 'rm', ...old], { reject: false, env });
}

/**
 * Tags to remove: of each repository all but the current ones and the newest few.
 * @param tags `repository:tag`, newest first
 */
export function outdatedTags(tags: readonly string[], current: ReadonlySet<string>, keep: number): string[] {
  const seen = new Map<string, number>();
  return tags.filter((tag) => {
    const repository = tag.slice(0, tag.lastIndexOf(':'));
    if (!repository.startsWith('muster/') || tag.endsWith(':<none>')) return false;
    const count = (seen.get(repository) ?? 0) + 1;
    seen.set(repository, count);
    return count > keep && !current.has(tag);
  });
}
