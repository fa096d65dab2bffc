/** What a synthesis needs from outside: the environment's name, image source, secrets and folders. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { type Environment, environmentNamed } from '../catalog/environments.ts';
import { readCertificate } from './config/certificate.ts';
import { readSecrets, type Secrets } from './config/secrets.ts';

export interface ImageReference {
  readonly name: string;
  /** True: already in the engine under this name; false: pulled. */
  readonly local: boolean;
  /** True: it counts only when the engine has it. */
  readonly optional?: true;
}

/** One file that another room rendered and that a container gets. */
export interface RenderedFile {
  readonly name: string;
  readonly text: string;
}

export interface Settings<Name extends string = string> {
  readonly environment: Environment;
  readonly secrets: Secrets;
  /** What the gateways show, with its key (PEM), where they speak TLS. */
  readonly certificate?: string;
  /** Absolute; Terraform state and the log inbox. */
  readonly stateDirectory: string;
  /** The image of a component, or undefined when there is none under the chosen source. */
  readonly image: (name: Name) => ImageReference | undefined;
  readonly dashboards: readonly RenderedFile[];
  readonly rules: readonly RenderedFile[];
  /**
   * Whether terraform may replace this broker, ZooKeeper or volume, or take it away. It would do that to all nodes at once, which is
   * an outage: `./muster up` goes node by node, and by hand it is those that MUSTER_REPLACE names.
   */
  readonly mayReplace: (alias: string) => boolean;
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

function rendered(folder: string, ending: string): readonly RenderedFile[] {
  const names = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .sort()
    : [];
  if (names.length === 0)
    throw coded('MUSTER_RENDER_FIRST', `no ${ending} file in ${folder}; run ./muster render`);
  return names.map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
}

type ImageRef<Name extends string> = (name: Name, source: 'registry' | 'build') => ImageReference | undefined;

/**
 * Settings from the process environment (`./muster env` prints it): MUSTER_ENV, MUSTER_IMAGES, MUSTER_LOCAL_IMAGES,
 * MUSTER_STATE_DIRECTORY, MUSTER_SECRETS_FILE; MUSTER_REPLACE is for those who go by hand. `buildDirectory` is where `./muster render` wrote.
 * Throws MUSTER_ENV_UNKNOWN, MUSTER_IMAGES_UNKNOWN, MUSTER_STATE_DIRECTORY_MISSING, MUSTER_SECRETS_*, MUSTER_CONFIG_CERTIFICATE,
 * MUSTER_RENDER_FIRST.
 */
export function readSettings<Name extends string>(
  variables: NodeJS.ProcessEnv,
  buildDirectory: string,
  imageRef: ImageRef<Name>,
): Settings<Name> {
  const environment = environmentNamed(variables.MUSTER_ENV || 'dev');
  const source = variables.MUSTER_IMAGES || 'registry';
  if (source !== 'registry' && source !== 'build')
    throw coded('MUSTER_IMAGES_UNKNOWN', `MUSTER_IMAGES is "${source}"; registry or build`);
  const stateDirectory = variables.MUSTER_STATE_DIRECTORY ?? '';
  if (!isAbsolute(stateDirectory))
    throw coded(
      'MUSTER_STATE_DIRECTORY_MISSING',
      'MUSTER_STATE_DIRECTORY is not set to an absolute path; run: eval "$(./muster env)"',
    );
  const listed = (names = '') => new Set(names.split(',').map((name) => name.trim()));
  const present = listed(variables.MUSTER_LOCAL_IMAGES);
  const replaced = listed(variables.MUSTER_REPLACE);
  const secrets = readSecrets(variables.MUSTER_SECRETS_FILE);
  const certificate = readCertificate(environment, dirname(variables.MUSTER_SECRETS_FILE!));
  return {
    environment,
    secrets,
    ...(certificate === undefined ? {} : { certificate }),
    stateDirectory,
    image: (name) => {
      const own = imageRef(name, source);
      if (own !== undefined && own.optional !== true) return own;
      // Perhaps not to be had under this source, but somebody may have loaded the registry's image into the engine.
      const other = imageRef(name, 'registry');
      return other !== undefined && present.has(other.name) ? { name: other.name, local: true } : undefined;
    },
    mayReplace: (alias) => replaced.has(alias) || replaced.has('all'),
    dashboards: rendered(join(buildDirectory, environment.name, 'grafana/dashboards'), '.json'),
    rules: rendered(join(buildDirectory, environment.name, 'prometheus/rules'), '.yml'),
  };
}
