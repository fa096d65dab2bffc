/** What every stack of an environment shares: state, providers (one per Docker host), images, names. */
import { join } from 'node:path';
import { Image } from '@cdktf/provider-docker/lib/image/index.js';
import { DockerProvider } from '@cdktf/provider-docker/lib/provider/index.js';
import { LocalBackend, PgBackend, TerraformStack } from 'cdktf';
import type { Construct, IConstruct } from 'constructs';
import type { Environment } from '../../catalog/environments.ts';
import { secretsMark } from '../config/secrets.ts';
import { stateSchema } from '../config/state.ts';
import { hostOf } from '../config/topology.ts';
import type { ImageName } from '../images.ts';
import type { Settings } from '../settings.ts';

export interface EnvironmentStackProps {
  readonly settings: Settings<ImageName>;
}

export class EnvironmentStack extends TerraformStack {
  readonly settings: Settings<ImageName>;
  readonly #providers = new Map<string, DockerProvider>();
  readonly #images = new Map<string, string>();

  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id);
    this.settings = props.settings;
    this.keepState();
    // The bindings pin 3.6.2, which panics on cpus and plans the deletion of stopped containers.
    this.addOverride('terraform.required_providers.docker.version', '~> 4.6');
  }

  private keepState(): void {
    const { environment, node, settings } = this;
    const { stateDatabase: connStr } = environment;
    if (connStr === undefined) {
      // The default backend's path is absolute as well, but beside the sources: a second checkout would not find it.
      new LocalBackend(this, { path: join(settings.stateDirectory, `${node.id}.tfstate`) });
      return;
    }
    new PgBackend(this, { connStr, schemaName: stateSchema(environment, node.id) });
    // The state is found from everywhere, secrets are not: who has made others would give them to every container. By hand
    // Terraform itself refuses that; `./muster` looks at the mark of the owner first.
    this.addOverride('resource.terraform_data.secrets', {
      triggers_replace: secretsMark(settings.secrets),
      lifecycle: { prevent_destroy: !settings.mayReplace('secrets') },
    });
  }

  /** The stack that a construct is in. Throws when it is in none of ours. */
  static override of(construct: IConstruct): EnvironmentStack {
    const stack = TerraformStack.of(construct);
    if (stack instanceof EnvironmentStack) return stack;
    throw new Error(`${construct.node.path} is not inside an EnvironmentStack`);
  }

  get environment(): Environment {
    return this.settings.environment;
  }

  /** Name of the container network, the same on every host. */
  get networkName(): string {
    return this.environment.prefix;
  }

  /** Name of something of ours in an engine: two environments on one engine never meet. */
  nameOf(alias: string): string {
    return `${this.environment.prefix}-${alias}`;
  }

  /** The provider of a Docker host: made when first asked for, with an alias, over ssh where the host says so. */
  providerFor(hostName: string): DockerProvider {
    const known = this.#providers.get(hostName);
    if (known !== undefined) return known;
    const { dockerUri } = hostOf(this.environment, hostName);
    const provider = new DockerProvider(this, `docker-${hostName}`, {
      alias: hostName,
      // Without a host the provider uses DOCKER_HOST or the default socket.
      ...(dockerUri === undefined
        ? {}
        : { host: dockerUri, sshOpts: ['-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10'] }),
    });
    this.#providers.set(hostName, provider);
    return provider;
  }

  /**
   * What a container on this host names as its image. One from a registry becomes a resource that pulls it and keeps
   * it; one built here is named by its content hash and must be in the engine already.
   * Throws MUSTER_IMAGE_MISSING when the source has no such image.
   */
  imageFor(name: ImageName, hostName: string): string {
    const reference = this.settings.image(name);
    if (reference === undefined)
      throw Object.assign(new Error(`MUSTER_IMAGE_MISSING: no image for ${name} under this source`), {
        code: 'MUSTER_IMAGE_MISSING',
      });
    if (reference.local) return reference.name;
    const key = `${hostName}/${reference.name}`;
    let id = this.#images.get(key);
    if (id === undefined) {
      id = new Image(this, `image-${name}-${hostName}`, {
        provider: this.providerFor(hostName),
        name: reference.name,
        keepLocally: true,
      }).imageId;
      this.#images.set(key, id);
    }
    return id;
  }
}
