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

/** Those of which a source may have no image: what the engine has counts. */
const doubtful = (images: ImageSource) =>
  (['cmak', 'grafana'] as const).filter((name) => {
    const image = imageRef(name, images);
    return image === undefined || image.optional === true;
  });
const nameOf = (image: 'cmak' | 'grafana') => imageRef(image, 'registry')?.name ?? '';

/** Images that the source may not have and that are in the engine all the same. */
export async function loadedImages(images: ImageSource): Promise<readonly string[]> {
  const names = doubtful(images).map(nameOf);
  const found = await Promise.all(
    names.map(async (name) => (await run('docker', ['image', 'inspect', name])).exitCode === 0),
  );
  return names.filter((_, index) => found[index]);
}

/** Components that the environment goes without under this source. */
export function leftOut(images: ImageSource, loaded: readonly string[]): ReadonlySet<string> {
  return new Set(doubtful(images).filter((name) => !loaded.includes(nameOf(name))));
}
