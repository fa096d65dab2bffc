/** What is remembered of an environment's last `up`: which image source it runs on. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment, ImageSource } from '../catalog/environments.ts';
import { run } from '../environment/children.ts';
import type { Container } from '../environment/docker.ts';
import { stateDirectory } from '../environment/paths.ts';
import { imageRef } from '../stacks/images.ts';

interface Deployment {
  readonly images: ImageSource;
}

const fileOf = (environment: Environment) => join(stateDirectory(environment.name), 'deployment.json');

/**
 * The image source of the last `up`; undefined before the first. A later `up` keeps to it, so that a network that comes
 * and goes does not replace every container.
 */
export async function rememberedImages(environment: Environment): Promise<ImageSource | undefined> {
  try {
    const { images } = JSON.parse(await readFile(fileOf(environment), 'utf8')) as Deployment;
    return images === 'registry' || images === 'build' ? images : undefined;
  } catch {
    return undefined;
  }
}

/** The image source that running containers show: ours by name means `build`. */
export function imagesOf(containers: readonly Container[]): ImageSource | undefined {
  const zookeeper = containers.find(({ component }) => component === 'zookeeper');
  if (zookeeper === undefined) return undefined;
  return zookeeper.image.startsWith('muster/') ? 'build' : 'registry';
}

export async function rememberImages(environment: Environment, images: ImageSource): Promise<void> {
  await mkdir(stateDirectory(environment.name), { recursive: true, mode: 0o700 });
  await writeFile(fileOf(environment), `${JSON.stringify({ images } satisfies Deployment)}\n`);
}

/** Images that only a registry has and that somebody loaded into the engine although the source is `build`. */
export async function loadedImages(images: ImageSource): Promise<readonly string[]> {
  if (images === 'registry') return [];
  const names = (['cmak', 'grafana'] as const).flatMap((image) => imageRef(image, 'registry')?.name ?? []);
  const found = await Promise.all(
    names.map(async (name) => (await run('docker', ['image', 'inspect', name])).exitCode === 0),
  );
  return names.filter((_, index) => found[index]);
}

/** Components that the environment goes without under this source. */
export function leftOut(images: ImageSource, loaded: readonly string[]): ReadonlySet<string> {
  const registryOnly = ['cmak', 'grafana'] as const;
  return new Set(
    registryOnly.filter(
      (name) =>
        imageRef(name, images) === undefined && !loaded.includes(imageRef(name, 'registry')?.name ?? ''),
    ),
  );
}
