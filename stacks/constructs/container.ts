/**
 * Containers, volumes, networks and one-shot jobs: the one place that knows the docker provider's traps.
 *
 * - Without a destroy grace the provider sends SIGKILL at once; a stop grace is therefore required.
 * - memory without an equal memory_swap drifts on every plan.
 * - The provider does not notice an edited healthcheck: its hash is a label, and a changed label replaces.
 * - wait polls only the health state, 60 s by default: wait comes with a timeout.
 * - Ports without an ip listen on every interface; ports not sorted by internal port drift.
 * - A stopped container reads back without ports, which would replace it instead of starting it again: changes of
 *   ports are ignored, and a label with their hash replaces when they really change.
 * - Log driver, log options and ulimits that are not said are read back from the engine as drift.
 * - env, labels and uploads are never read back: what was changed by hand is not seen.
 * - An upload replaces the container when its text changes (wanted), arrives as root:root 0644, and fails with a
 *   read-only root file system.
 * - cpus is compared as text too, with a decimal point always: 4.0, not 4.
 * - Durations are compared as text in Go's own form: 1m0s, not 60s.
 * - A one-shot container's exit code does not fail an apply: a postcondition does.
 * - Terraform reads \${ and %{ in any text as its own interpolation: uploads, commands and variables are escaped.
 */
import { createHash } from 'node:crypto';
import { Container as DockerContainer } from '@cdktf/provider-docker/lib/container/index.js';
import { Network as DockerNetwork } from '@cdktf/provider-docker/lib/network/index.js';
import { Volume as DockerVolume } from '@cdktf/provider-docker/lib/volume/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Size } from '../../catalog/environments.ts';
import { paths } from '../config/paths.ts';
import { hostOf, type PlacedPort } from '../config/topology.ts';
import type { ImageName } from '../images.ts';
import { EnvironmentStack } from './environment-stack.ts';

/** A duration as Go prints it, which is what the provider compares with: 90000 -> 1m30s, 500 -> 500ms. */
export function goDuration(ms: number): string {
  if (!Number.isInteger(ms) || ms < 0) throw new RangeError(`not a duration in whole ms: ${ms}`);
  if (ms === 0) return '0s';
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = (ms % 60_000) / 1000;
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`;
}

/**
 * A number of CPUs as the provider writes it when it reads a container back, quirks included: 4 -> 4.0, 10 -> 10.
 * Another notation replaces on every plan. Throws MUSTER_CPUS_INVALID for a number that it cannot read back.
 */
export function decimalCpus(cpus: number): string {
  const nine = cpus.toFixed(9);
  const text = nine.replaceAll(/[^0]/g, '').length === 9 ? cpus.toFixed(1) : nine.replace(/0+$/, '');
  if (!(cpus > 0) || Number(text) !== cpus)
    throw coded(
      'MUSTER_CPUS_INVALID',
      `${cpus} CPUs cannot be told to the provider; take a multiple of 0.25`,
    );
  return text;
}

/** First 12 hex digits of the SHA-256 of a value's JSON. */
export function contentHash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12);
}

/** Text as Terraform takes it literally. */
export function literal(text: string): string {
  return text.replaceAll(/([$%])\{/g, '$1$1{');
}

function labelsOf(labels: Readonly<Record<string, string>>) {
  return Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([label, value]) => ({ label, value }));
}

export interface NetworkProps {
  /** Key of environment.hosts. */
  readonly host: string;
}

/** The environment's bridge network on one host. Other stacks refer to it by name and depend on this one's. */
export class Network extends Construct {
  readonly resource: DockerNetwork;

  constructor(scope: Construct, id: string, props: NetworkProps) {
    super(scope, id);
    const stack = EnvironmentStack.of(this);
    this.resource = new DockerNetwork(this, 'network', {
      provider: stack.providerFor(props.host),
      name: stack.networkName,
      driver: 'bridge',
      labels: labelsOf({ 'muster.environment': stack.environment.name }),
    });
  }
}

export interface VolumeProps {
  readonly host: string;
  /** Name after the environment's prefix. */
  readonly name: string;
  readonly component: string;
}

/** A named volume: it outlives its container. An empty one takes owner and mode of the image's folder. */
export class Volume extends Construct {
  readonly resource: DockerVolume;

  constructor(scope: Construct, id: string, props: VolumeProps) {
    super(scope, id);
    const stack = EnvironmentStack.of(this);
    this.resource = new DockerVolume(this, 'volume', {
      provider: stack.providerFor(props.host),
      name: stack.nameOf(props.name),
      labels: labelsOf({
        'muster.environment': stack.environment.name,
        'muster.component': props.component,
      }),
      lifecycle: { preventDestroy: !stack.settings.mayReplace(props.name) },
    });
  }
}

export interface Healthcheck {
  /** Docker's form. `CMD` has no shell: name one when you need it, and only one that both image sources have. */
  readonly test: readonly ['CMD', ...string[]];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
}

/** A check with the usual numbers: about every 10 s, unhealthy after three failures, a minute to come up. */
export function checkedBy(...command: string[]): Healthcheck {
  return {
    test: ['CMD', ...command],
    intervalMs: 10_000,
    timeoutMs: 4_000,
    retries: 3,
    startPeriodMs: 60_000,
  };
}

/** A check by busybox wget, which every image has whose program answers HTTP, under both sources. */
export function answersHttp(port: number, path: string): Healthcheck {
  return checkedBy('wget', '-q', '-O', '/dev/null', `http://127.0.0.1:${port}${path}`);
}

/**
 * The interval, a fifth more or less by the container's name. A check is a process started in the container (60 ms of
 * CPU here); containers that started together would all be checked in the same instant, again and again, and twenty
 * of them hold up everything on a small host for half a second each time.
 */
function spread(intervalMs: number, alias: string): number {
  const share = Number.parseInt(contentHash(alias).slice(0, 6), 16) / 0xff_ff_ff;
  return Math.round(intervalMs * (0.8 + 0.4 * share));
}

interface CommonProps {
  /** Container name after the prefix, and network alias. */
  readonly alias: string;
  readonly component: string;
  readonly node?: number;
  readonly host: string;
  readonly image: ImageName;
  /** Explicit: no image's own start logic. Undefined only where the image's entrypoint is the documented interface. */
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly size: Size;
  /** Path in the container -> text. Under /etc/muster, never in a data volume. */
  readonly files?: Readonly<Record<string, string>>;
  readonly volumes?: readonly { readonly volume: Volume; readonly path: string }[];
  /** Folders of the host: absolute path there -> path in the container. */
  readonly binds?: readonly {
    readonly hostPath: string;
    readonly path: string;
    readonly readOnly: boolean;
  }[];
  /** User id and group, where the image starts as root. */
  readonly user?: string;
  readonly dependsOn?: readonly ITerraformDependable[];
}

export interface ContainerProps extends CommonProps {
  /** Seconds from SIGTERM to SIGKILL, at `docker stop`, replacement and destroy. */
  readonly stopGraceSeconds: number;
  /** `none` with a reason: an image without a shell cannot be probed from inside; a scrape tells. */
  readonly health: Healthcheck | { readonly none: string };
  /** Apply goes on only when the container is healthy. Needs a healthcheck. */
  readonly waitMs?: number;
  readonly ports?: Readonly<Record<string, PlacedPort>>;
  readonly openFiles?: number;
  /** One of those that must not go together: terraform refuses a plan that takes it away, unless the settings allow that. */
  readonly goesAlone?: true;
  /** Processors go there first when there are too few, as to what goes alone: others wait for it, or it decides by who is late. */
  readonly comesFirst?: boolean;
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

/**
 * 32 times what others have. Brokers that come back together look through all of their logs, while each of the thirty that wait for
 * them wants a processor, too: with 4 times they took four times as long as one that comes back alone.
 */
const firstCpuShares = 32_768;
/** Plenty for a few hundred partitions, and below what an engine inside a sandbox may itself have (20000). */
const defaultOpenFiles = 16_384;

function check(props: CommonProps): void {
  for (const path of Object.keys(props.files ?? {})) {
    const volume = props.volumes?.find((mount) => path === mount.path || path.startsWith(`${mount.path}/`));
    if (volume !== undefined)
      throw coded(
        'MUSTER_UPLOAD_INTO_VOLUME',
        `${props.alias}: ${path} lies in the volume at ${volume.path}`,
      );
    if (!path.startsWith(`${paths.config}/`))
      throw coded('MUSTER_UPLOAD_OUTSIDE', `${props.alias}: ${path} is not under ${paths.config}`);
  }
  if (!Number.isInteger(props.size.memoryMiB) || props.size.memoryMiB < 6)
    throw coded('MUSTER_MEMORY_INVALID', `${props.alias}: ${props.size.memoryMiB} MiB is not a limit`);
}

/** Arguments that services and jobs share. */
function common(construct: Construct, props: CommonProps, labels: Readonly<Record<string, string>>) {
  const stack = EnvironmentStack.of(construct);
  const openFiles = (props as ContainerProps).openFiles ?? defaultOpenFiles;
  return {
    provider: stack.providerFor(props.host),
    name: stack.nameOf(props.alias),
    hostname: props.alias,
    image: stack.imageFor(props.image, props.host),
    ...(props.entrypoint === undefined ? {} : { entrypoint: props.entrypoint.map(literal) }),
    ...(props.command === undefined ? {} : { command: props.command.map(literal) }),
    ...(props.user === undefined ? {} : { user: props.user }),
    env: Object.entries(props.environment ?? {})
      .map(([key, value]) => literal(`${key}=${value}`))
      .sort(),
    labels: labelsOf({
      'muster.environment': stack.environment.name,
      'muster.component': props.component,
      'muster.node': String(props.node ?? 1),
      ...labels,
    }),
    memory: props.size.memoryMiB,
    memorySwap: props.size.memoryMiB,
    ...(props.size.cpus === undefined ? {} : { cpus: decimalCpus(props.size.cpus) }),
    logDriver: 'json-file',
    logOpts: { 'max-size': '10m', 'max-file': '3' },
    ulimit: [{ name: 'nofile', soft: openFiles, hard: openFiles }],
    // Everything of ours runs as a user of its own on ports above 1024: it needs no capability at all.
    capabilities: { drop: ['ALL'] },
    securityOpts: ['no-new-privileges:true'],
    networkMode: 'bridge',
    networksAdvanced: [{ name: stack.networkName, aliases: [props.alias] }],
    upload: Object.entries(props.files ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([file, content]) => ({ file, content: literal(content) })),
    volumes: [
      ...(props.volumes ?? []).map((mount) => ({
        volumeName: mount.volume.resource.name,
        containerPath: mount.path,
      })),
      ...(props.binds ?? []).map((bind) => ({
        hostPath: bind.hostPath,
        containerPath: bind.path,
        readOnly: bind.readOnly,
      })),
    ],
    // The anonymous ones that an image declares; named volumes stay.
    removeVolumes: true,
    ...(props.dependsOn === undefined ? {} : { dependsOn: [...props.dependsOn] }),
  };
}

/** A long-running container. */
export class Container extends Construct {
  readonly resource: DockerContainer;

  constructor(scope: Construct, id: string, props: ContainerProps) {
    super(scope, id);
    check(props);
    const stack = EnvironmentStack.of(this);
    const health = 'test' in props.health ? props.health : undefined;
    if (props.waitMs !== undefined && health === undefined)
      throw coded('MUSTER_WAIT_WITHOUT_HEALTH', `${props.alias}: there is no healthcheck to wait for`);
    if (props.stopGraceSeconds < 1)
      throw coded('MUSTER_STOP_GRACE_MISSING', `${props.alias}: without a stop grace it is killed at once`);
    const { bindIp } = hostOf(stack.environment, props.host);
    const ports = Object.values(props.ports ?? {})
      .filter((port) => port.published !== undefined)
      .sort((a, b) => a.container - b.container)
      .map((port) => ({ internal: port.container, external: port.published!, ip: bindIp, protocol: 'tcp' }));

    this.resource = new DockerContainer(this, 'container', {
      ...common(this, props, {
        ...(health === undefined ? {} : { 'muster.healthcheck': contentHash(health) }),
        'muster.ports': contentHash(ports),
      }),
      lifecycle: {
        ignoreChanges: ['ports'],
        preventDestroy: props.goesAlone === true && !stack.settings.mayReplace(props.alias),
      },
      // Processors go to the brokers and ZooKeepers first when there are too few: all others wait for these, and ask again and again.
      ...(props.goesAlone === true || props.comesFirst === true ? { cpuShares: firstCpuShares } : {}),
      restart: 'unless-stopped',
      mustRun: true,
      destroyGraceSeconds: props.stopGraceSeconds,
      stopTimeout: props.stopGraceSeconds,
      ports,
      ...(health === undefined
        ? {}
        : {
            healthcheck: {
              test: health.test.map(literal),
              interval: goDuration(spread(health.intervalMs, props.alias)),
              timeout: goDuration(health.timeoutMs),
              retries: health.retries,
              startPeriod: goDuration(health.startPeriodMs),
            },
          }),
      ...(props.waitMs === undefined ? {} : { wait: true, waitTimeout: Math.ceil(props.waitMs / 1000) }),
    });
  }
}

export interface OneShotJobProps extends CommonProps {
  /** What the job applies: another hash runs it anew. */
  readonly content: unknown;
}

/** A container that runs to its end during apply; a non-zero exit fails the apply, and the next one tries again. */
export class OneShotJob extends Construct {
  readonly resource: DockerContainer;

  constructor(scope: Construct, id: string, props: OneShotJobProps) {
    super(scope, id);
    check(props);
    this.resource = new DockerContainer(this, 'job', {
      ...common(
        this,
        {
          ...props,
          environment: { ...props.environment, MUSTER_CONTENT_HASH: contentHash(props.content) },
        },
        { 'muster.job': 'true' },
      ),
      attach: true,
      logs: true,
      mustRun: false,
      restart: 'no',
      destroyGraceSeconds: 10,
      lifecycle: {
        postcondition: [
          {
            // biome-ignore lint/suspicious/noTemplateCurlyInString: Terraform's own interpolation
            condition: '${self.exit_code == 0}',
            errorMessage:
              // biome-ignore lint/suspicious/noTemplateCurlyInString: Terraform's own interpolation
              '${self.name} ended with exit code ${self.exit_code}:\n${try(coalesce(self.container_logs, "(no output)"), "(no output)")}',
          },
        ],
      },
    });
  }
}
