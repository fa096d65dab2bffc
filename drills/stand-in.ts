/** Another container in the place of one: the same settings, an image of its own, and, where asked for, another disk. */

/** What the engine says of a container (`docker inspect`), the parts that a stand-in needs. */
export interface Settings {
  readonly Config: {
    readonly Hostname: string;
    readonly StopTimeout?: number;
  };
  readonly HostConfig: {
    readonly Memory: number;
    readonly NanoCpus: number;
    readonly CapDrop: readonly string[] | null;
    readonly SecurityOpt: readonly string[] | null;
    readonly Ulimits:
      | readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[]
      | null;
    readonly RestartPolicy: { readonly Name: string };
    readonly LogConfig: { readonly Type: string; readonly Config: Readonly<Record<string, string>> | null };
    readonly PortBindings: Readonly<
      Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
    > | null;
  };
  readonly Mounts: readonly {
    readonly Type: string;
    readonly Name?: string;
    readonly Source: string;
    readonly Destination: string;
    readonly RW: boolean;
  }[];
}

export interface SmallDisk {
  /** Where in the container. */
  readonly path: string;
  readonly bytes: number;
  /** It begins with what is on the own disk, which gets what is on it at the end; else it begins and ends with nothing. */
  readonly keeps?: true;
}

/** Name of the container that stands in for this one. */
export const standInOf = (container: string) => `${container}-stand-in`;
/** Name of the container that keeps its small disk. */
export const diskKeeperOf = (container: string) => `${standInOf(container)}-disk`;

export interface Likeness {
  readonly name: string;
  readonly hostname: string;
  readonly image: string;
  readonly networks: readonly { readonly name: string; readonly aliases: readonly string[] }[];
  /** Default: those of the container. */
  readonly mounts?: readonly string[];
  readonly ports?: readonly string[];
  readonly env?: readonly string[];
  /** Beyond that of the container, in bytes. */
  readonly moreMemory?: number;
}

/** Arguments of docker that create a container with the limits and disks of another one. At most one network can be given. */
export function creationLike(
  { Config, HostConfig, Mounts }: Settings,
  { name, hostname, image, networks, mounts, ports = [], env = [], moreMemory = 0 }: Likeness,
): string[] {
  // Zero: no limit.
  const memory = HostConfig.Memory === 0 ? '0' : String(HostConfig.Memory + moreMemory);
  return [
    ...['create', '--name', name, '--hostname', hostname],
    ...['--restart', HostConfig.RestartPolicy.Name || 'no'],
    ...['--memory', memory, '--memory-swap', memory],
    ...(HostConfig.NanoCpus > 0 ? ['--cpus', String(HostConfig.NanoCpus / 1e9)] : []),
    ...(Config.StopTimeout === undefined ? [] : ['--stop-timeout', String(Config.StopTimeout)]),
    ...each('--cap-drop', HostConfig.CapDrop ?? []),
    ...each('--security-opt', HostConfig.SecurityOpt ?? []),
    ...each(
      '--ulimit',
      (HostConfig.Ulimits ?? []).map(({ Name, Soft, Hard }) => `${Name}=${Soft}:${Hard}`),
    ),
    ...['--log-driver', HostConfig.LogConfig.Type],
    ...each(
      '--log-opt',
      Object.entries(HostConfig.LogConfig.Config ?? {}).map(([key, value]) => `${key}=${value}`),
    ),
    ...networks.flatMap((network) => [
      '--network',
      network.name,
      ...each('--network-alias', network.aliases),
    ]),
    ...each('--env', env),
    ...each('--publish', ports),
    ...each('--mount', mounts ?? Mounts.map((mount) => mountLike(mount))),
    image,
  ];
}

const each = (option: string, values: readonly string[]) => values.flatMap((value) => [option, value]);

const mountLike = (
  { Type, Name, Source, Destination, RW }: Settings['Mounts'][number],
  source = Name ?? Source,
) => `type=${Type},source=${source},target=${Destination}${RW ? '' : ',readonly'}`;

/** Arguments of docker that put a stand-in in the place of a container, and those that take it away again, in order. */
export function standInSteps(
  name: string,
  { Config, HostConfig, Mounts }: Settings,
  networks: readonly { readonly name: string; readonly aliases: readonly string[] }[],
  options: { readonly graceMs: number; readonly disk?: SmallDisk },
): { readonly steps: readonly (readonly string[])[]; readonly heal: readonly (readonly string[])[] } {
  const standIn = standInOf(name);
  const image = `muster/stand-in:${name}`;
  const { disk } = options;
  const keeper = diskKeeperOf(name);
  const grace = ['--time', String(Math.ceil(options.graceMs / 1_000))];
  const [first, ...others] = networks;

  const own = Mounts.find(({ Destination }) => Destination === disk?.path);
  const mounts = Mounts.map((mount) =>
    mountLike(mount, mount.Destination === disk?.path ? keeper : undefined),
  );
  const ports = Object.entries(HostConfig.PortBindings ?? {}).flatMap(([port, bindings]) =>
    (bindings ?? []).map(({ HostIp, HostPort }) => `${HostIp}:${HostPort}:${port}`),
  );
  const create = creationLike(
    { Config, HostConfig, Mounts },
    {
      name: standIn,
      hostname: Config.Hostname,
      image,
      networks: first === undefined ? [] : [first],
      mounts,
      ports,
      moreMemory: disk?.bytes ?? 0,
    },
  );
  return {
    steps: [
      // Takes over command, variables, labels, health check and the files that were put into the container.
      ['commit', '--pause=false', '--change', `LABEL muster.stand-in=${name}`, name, image],
      ...(disk === undefined ? [] : smallDisk(keeper, image, disk, own?.Name ?? own?.Source)),
      ['stop', ...grace, name],
      ...(disk?.keeps ? [copy(keeper, disk.path, ownDisk)] : []),
      create,
      ...others.map((network) => [
        ...['network', 'connect', ...each('--alias', network.aliases)],
        ...[network.name, standIn],
      ]),
      ['start', standIn],
    ],
    heal: [
      ['stop', ...grace, standIn],
      ['rm', '--force', standIn],
      ...(disk?.keeps ? [copy(keeper, ownDisk, disk.path)] : []),
      ...(disk === undefined
        ? []
        : [
            ['rm', '--force', keeper],
            ['volume', 'rm', '--force', keeper],
          ]),
      ['start', name],
      ['image', 'rm', '--force', image],
    ],
  };
}

/**
 * A volume in memory, and a container that keeps it: the engine throws the content of such a volume away when nobody
 * uses it, so that a program that is started again would find its disk empty.
 */
function smallDisk(
  name: string,
  image: string,
  { path, bytes, keeps }: SmallDisk,
  own: string | undefined,
): readonly (readonly string[])[] {
  const sized = ['--opt', 'type=tmpfs', '--opt', 'device=tmpfs', '--opt', `o=size=${bytes},mode=0777`];
  return [
    ['volume', 'create', ...sized, name],
    [
      ...['run', '--detach', '--name', name, '--network', 'none', '--no-healthcheck'],
      ...['--label', 'muster.component=drill', '--mount', `type=volume,source=${name},target=${path}`],
      ...(keeps ? ['--user', '0', '--mount', `type=volume,source=${own},target=${ownDisk}`] : []),
      ...['--entrypoint', '/bin/sh', image, '-c', 'exec sleep infinity'],
    ],
  ];
}

/** Where the keeper of a small disk sees the container's own. */
const ownDisk = '/own-disk';

/** Copied beside what is there and then put in its place, folder by folder: cut off in between, it can be done again. */
function copy(keeper: string, to: string, from: string): readonly string[] {
  const script =
    'cd "$2" && for one in *; do case "$one" in "*" | *.new) continue ;; esac; rm -rf "$1/$one.new" && cp -a "$one" "$1/$one.new" && rm -rf "$1/$one" && mv "$1/$one.new" "$1/$one" || exit 1; done';
  return ['exec', keeper, '/bin/sh', '-c', script, 'sh', to, from];
}
