/**
 * Which image each component runs from, under both image sources.
 *
 * `registry`: official images at exact tags. `build`: images made from package registries only (images/).
 * Images that we build are named by the hash of everything that goes into them, so a name says what is inside:
 * an unchanged checkout gives the same names, and a changed recipe never meets an old image.
 * Pure given the files of the checkout: nothing here talks to an engine. tools/images.ts builds what is named here.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ImageSource } from '../catalog/environments.ts';

export type ImageName =
  | 'kafka'
  | 'zookeeper'
  | 'cmak'
  | 'mysql'
  | 'redis'
  | 'prometheus'
  | 'alertmanager'
  | 'grafana'
  | 'jaeger'
  | 'victorialogs'
  | 'mysqld-exporter'
  | 'redis-exporter'
  | 'haproxy'
  | 'mysql-backup'
  | 'worker';

/** Images that exist only to build others on. */
export type BaseImageName = 'base' | 'java' | 'worker-base';

export interface ImageRef {
  readonly name: string;
  /** True: tools/images.ts puts it into the engine beforehand; no registry knows it, so it must not be pulled. */
  readonly local: boolean;
  /** True: there may be nobody who has it, and the environment goes without it where the engine has it not. */
  readonly optional?: true;
}

/** How one image of ours is built. */
export interface LocalImage {
  readonly image: ImageName | BaseImageName;
  /** Name and content-hash tag, e.g. `muster/kafka:3.9.2-0123456789ab`. */
  readonly tag: string;
  /** Dockerfile, relative to the checkout. */
  readonly dockerfile: string;
  /** Folder whose other files belong to the build context, relative to the checkout. */
  readonly folder: string;
  /** What FROM names (build argument PARENT): an image of ours, or a reference to pull. */
  readonly parent: { readonly image: BaseImageName } | { readonly ref: string };
  /** Files of the checkout that are copied in beyond the folder, relative paths. */
  readonly files: readonly string[];
}

/** Versions that recipes and tools/artifacts.ts agree on. */
export const versions = {
  kafka: '3.9.2',
  zookeeper: '3.9.4',
  /** Go module version of Jaeger; the same code is released as image 2.13.0. */
  jaegerModule: 'v1.76.0',
  jaegerImage: '2.13.0',
  /** Version of its Go module and of the image. */
  victorialogs: 'v1.52.1',
} as const;

/** The Debian that source `build` stands on: pulled where that works, else made by debootstrap. */
export const debianImage = {
  tag: 'muster/debian:bookworm-1',
  suite: 'bookworm',
  ref: 'debian:bookworm-slim',
};

/**
 * Official images at exact tags.
 * Redis stays at 7.2, the last line under the BSD licence before its owners changed it.
 * The exporter variant `-alpine` has a shell, so that the same health check works under both sources; so has HAProxy's, which
 * stays at 2.6, the line of Debian 12, so that one configuration is right under both sources.
 */
const official = {
  zookeeper: `zookeeper:${versions.zookeeper}`,
  redis: 'redis:7.2.14-alpine',
  prometheus: 'prom/prometheus:v3.13.2',
  alertmanager: 'prom/alertmanager:v0.28.1',
  grafana: 'grafana/grafana:12.4.0',
  jaeger: `jaegertracing/jaeger:${versions.jaegerImage}`,
  'mysqld-exporter': 'prom/mysqld-exporter:v0.18.0',
  'redis-exporter': 'oliver006/redis_exporter:v1.74.0-alpine',
  haproxy: 'haproxy:2.6.21-alpine',
} as const;

/** The server of Debian 12, so that one server is tried and backed up under both sources. */
const officialMariaDb = 'mariadb:10.11.19';
const officialKafka = `apache/kafka:${versions.kafka}`;
const officialVictoriaLogs = `victoriametrics/victoria-logs:${versions.victorialogs}`;
const officialNode = 'node:24.18.0-bookworm-slim';

/**
 * CMAK's packagers number their rebuilds, and which numbers are still served cannot be known beforehand: the first of
 * these that can be pulled gets the local name. None that moves is among them.
 */
export const cmak = {
  tag: 'muster/cmak:3.0.0.6',
  candidates: [
    'quay.io/panubo/cmak:3.0.0.6-2',
    'quay.io/panubo/cmak:3.0.0.6-1',
    'quay.io/panubo/cmak:3.0.0.6',
  ],
} as const;

const root = fileURLToPath(new URL('..', import.meta.url));

/** Every file below a folder of the checkout, relative paths, sorted by name so that a hash over them is stable. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort();
}

/** Joins parts so that moving a character from one part to the next changes the hash. */
export function hashOf(parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex').slice(0, 12);
}

function hashFiles(paths: readonly string[]): string {
  return hashOf(paths.flatMap((path) => [path, readFileSync(join(root, path))]));
}

interface Lock {
  readonly packages: Readonly<Record<string, { dev?: boolean; version?: string; integrity?: string }>>;
}

/** Names, versions and integrity of what production needs: a new development tool leaves the worker image alone. */
export function productionDependencies(lock: Lock): string[] {
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path, { version, integrity }]) => `${path}@${version} ${integrity}`)
    .sort();
}

interface Recipe {
  readonly image: ImageName | BaseImageName;
  readonly version: string;
  readonly parent: LocalImage['parent'];
  /** Folder under images/ when it is not the image's own name. */
  readonly folder?: string;
  /** File name of the Dockerfile in the folder. */
  readonly dockerfile?: string;
  readonly files?: readonly string[];
  /** What else decides the content, e.g. a locked list of packages. */
  readonly alsoHash?: readonly string[];
}

/** What the worker image holds of the checkout: facts and code, without the tests and their fixtures. */
function workerFiles(): string[] {
  return [...filesBelow('catalog'), ...filesBelow('workers'), 'package.json'].filter(
    (path) => !/\.(test|fixture)\.ts$/.test(path),
  );
}

function recipes(source: ImageSource): Recipe[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock & {
    version: string;
  };
  const dependencies = productionDependencies(lock);
  const worker: Recipe = {
    image: 'worker',
    version: lock.version,
    parent: { image: 'worker-base' },
    files: workerFiles(),
  };
  // A worker with MariaDB's programs, Debian's under both sources.
  const mysqlBackup: Recipe = { ...worker, image: 'mysql-backup' };
  if (source === 'registry') {
    return [
      {
        image: 'kafka',
        version: versions.kafka,
        parent: { ref: officialKafka },
        dockerfile: 'registry.Dockerfile',
      },
      {
        image: 'worker-base',
        version: '24',
        parent: { ref: officialNode },
        folder: 'worker',
        dockerfile: 'base.registry.Dockerfile',
        alsoHash: dependencies,
      },
      worker,
      mysqlBackup,
      {
        image: 'mysql',
        version: 'mariadb-10.11',
        parent: { ref: officialMariaDb },
        dockerfile: 'registry.Dockerfile',
      },
      {
        image: 'victorialogs',
        version: versions.victorialogs,
        parent: { ref: officialVictoriaLogs },
        dockerfile: 'registry.Dockerfile',
      },
    ];
  }
  const base = { image: 'base' } as const;
  const java = { image: 'java' } as const;
  return [
    { image: 'base', version: '12', parent: { ref: debianImage.tag } },
    { image: 'java', version: '17', parent: base },
    { image: 'kafka', version: versions.kafka, parent: java },
    { image: 'zookeeper', version: versions.zookeeper, parent: java },
    { image: 'mysql', version: 'mariadb-10.11', parent: base },
    { image: 'redis', version: '7.0', parent: base },
    { image: 'prometheus', version: '2.42', parent: base },
    { image: 'alertmanager', version: '0.25', parent: base },
    { image: 'mysqld-exporter', version: '0.14', parent: base },
    { image: 'redis-exporter', version: '1.45', parent: base },
    { image: 'haproxy', version: '2.6', parent: base },
    {
      image: 'worker-base',
      version: '24',
      parent: base,
      folder: 'worker',
      dockerfile: 'base.Dockerfile',
      alsoHash: [String(lock.packages['node_modules/node']?.version), ...dependencies],
    },
    worker,
    mysqlBackup,
    { image: 'jaeger', version: versions.jaegerImage, parent: base, alsoHash: [versions.jaegerModule] },
    { image: 'victorialogs', version: versions.victorialogs, parent: base },
  ];
}

const known = new Map<ImageSource, readonly LocalImage[]>();

/** The images we build under a source, each after the one it stands on. Read once per process. */
export function localImages(source: ImageSource): readonly LocalImage[] {
  const cached = known.get(source);
  if (cached !== undefined) return cached;
  const images: LocalImage[] = [];
  for (const recipe of recipes(source)) {
    const folder = join('images', recipe.folder ?? recipe.image);
    const dockerfile = join(folder, recipe.dockerfile ?? 'Dockerfile');
    const files = recipe.files ?? [];
    const { parent } = recipe;
    const parentName =
      'ref' in parent ? parent.ref : String(images.find(({ image }) => image === parent.image)?.tag);
    // A folder may hold several Dockerfiles: only the one in use counts.
    const own = filesBelow(folder).filter((path) => path === dockerfile || !path.endsWith('Dockerfile'));
    const hash = hashOf([parentName, ...(recipe.alsoHash ?? []), hashFiles([...own, ...files])]);
    const tag = `muster/${recipe.image}:${recipe.version}-${hash}`;
    images.push({ image: recipe.image, tag, dockerfile, folder, parent, files });
  }
  known.set(source, images);
  return images;
}

/**
 * The image of a component under an image source; undefined when that source has none
 * (CMAK and Grafana exist only in registries).
 */
export function imageRef(name: ImageName, source: ImageSource): ImageRef | undefined {
  const built = localImages(source).find(({ image }) => image === name);
  if (built !== undefined) return { name: built.tag, local: true };
  if (source === 'build') return undefined;
  if (name === 'cmak') return { name: cmak.tag, local: true, optional: true };
  if (Object.hasOwn(official, name)) return { name: official[name as keyof typeof official], local: false };
  return undefined;
}

/** References that source `registry` pulls for the components themselves. */
export function officialImages(): readonly string[] {
  return Object.values(official);
}
