/**
 * Things downloaded or built outside the checkout, in the cache directory, one folder per name and key.
 *
 * A folder appears by one rename after it is complete, so whoever sees it can use it, and a cut-off build leaves only
 * a temporary folder that the next run removes. A lock per artifact keeps two runs from doing the same work twice;
 * correctness does not hang on it. What the tools below cache themselves (Go's build cache, Maven's and npm's stores)
 * makes a second try go on where the first was cut off.
 */

import { createReadStream } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';
import { run as runChild } from '../environment/children.ts';
import { holderAlive, processFacts, withLock } from '../environment/lock.ts';
import { cacheDirectory, checkout } from '../environment/paths.ts';
import { debianImage, hashOf, productionDependencies, versions } from '../stacks/images.ts';
import { MusterError } from '../workers/base/errors.ts';
import { needProgram } from './programs.ts';

/** Called with one line of live progress. */
export type Report = (line: string) => void;

/** The Terraform docker provider: its Go module (tagged versions are not served) and the version it stands in for. */
const providerModule = {
  path: 'github.com/kreuzwerker/terraform-provider-docker',
  version: 'v0.0.0-20260916201441-96d331c98ff4',
  /** The pseudo-version lies just after this release. */
  release: '4.6.0',
} as const;
const jaegerModule = { path: 'github.com/jaegertracing/jaeger', version: versions.jaegerModule } as const;
const victorialogsModule = {
  path: 'github.com/VictoriaMetrics/VictoriaLogs',
  version: versions.victorialogs,
} as const;
const mavenPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
/** Other versions of an artifact are removed when nobody has used them for this long. */
const keepUnusedMs = 14 * 24 * 3_600_000;

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * A temporary folder inside the cache, so that a rename out of it is atomic. Removed afterwards, and those of processes
 * that were cut off are removed on the way.
 */
export async function withTemporaryFolder<T>(action: (folder: string) => Promise<T>): Promise<T> {
  const parent = join(cacheDirectory(), 'tmp');
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    const [pid, startTicks] = name.split('-');
    if (!holderAlive(JSON.stringify({ pid: Number(pid), startTicks }))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
  const startTicks = processFacts(process.pid)?.startTicks ?? '0';
  const folder = join(parent, `${process.pid}-${startTicks}-${Math.random().toString(36).slice(2)}`);
  await mkdir(folder);
  try {
    return await action(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Folder of an artifact, whether or not it exists. */
function artifactFolder(name: string, key: string): string {
  return join(cacheDirectory(), 'artifacts', name, key);
}

/**
 * The folder of an artifact, made by `build` when it is not there yet.
 * @param key everything that decides the content; another key is another folder
 */
async function artifact(
  name: string,
  key: string,
  report: Report,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = artifactFolder(name, key);
  if (!(await exists(folder))) {
    await withLock(
      `${name}-${key}`,
      async () => {
        if (await exists(folder)) return;
        await withTemporaryFolder(async (temporary) => {
          const content = join(temporary, 'content');
          await mkdir(content);
          await build(content);
          await mkdir(join(folder, '..'), { recursive: true });
          await rename(content, folder);
        });
      },
      report,
    );
  }
  const now = new Date();
  await utimes(folder, now, now);
  for (const other of await readdir(join(folder, '..'))) {
    const path = join(folder, '..', other);
    if (other === key) continue;
    const age = await stat(path).then(
      ({ mtimeMs }) => now.getTime() - mtimeMs,
      () => 0,
    );
    if (age > keepUnusedMs) await rm(path, { recursive: true, force: true });
  }
  return folder;
}

interface RunOptions {
  readonly report: Report;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What to show for a line of output; undefined shows nothing. Default: the line. */
  readonly show?: (line: string) => string | undefined;
}

/**
 * Runs a program and reports its output live.
 * Error: MUSTER_BUILD_FAILED with the last lines that it printed; MUSTER_TOOL_MISSING when it is not installed.
 */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { report, cwd = checkout, env = {}, show = (line) => line } = options;
  const said: string[] = [];
  const { exitCode, stdout } = await runChild(program, args, {
    cwd,
    env,
    onLine(raw) {
      const line = stripVTControlCharacters(raw);
      said.push(line);
      const shown = line.trim() === '' ? undefined : show(line.trim());
      if (shown !== undefined) report(shown);
    },
  });
  if (exitCode === 0) return stdout;
  throw new MusterError(
    'MUSTER_BUILD_FAILED',
    `${[program, ...args].slice(0, 4).join(' ')} ... failed (exit code ${exitCode}). Run this again to go on where it stopped.\n${said.slice(-15).join('\n')}`,
  );
}

/** The jars of an image as `mvn` resolves images/<name>/pom.xml: folder with libs/ (and jmx/ for Kafka). */
export async function mavenJars(name: 'kafka' | 'zookeeper', report: Report): Promise<string> {
  const pom = join(checkout, 'images', name, 'pom.xml');
  const key = `${versions[name]}-${hashOf([await readFile(pom)])}`;
  return artifact(`${name}-jars`, key, report, async (folder) => {
    await needProgram(
      ['mvn'],
      ['maven'],
      'Image source `build` needs Apache Maven (https://maven.apache.org/install.html).',
      report,
    );
    report(`${name}: resolving jars`);
    const libs = join(folder, 'libs');
    await run(
      'mvn',
      [
        '-B',
        '-f',
        pom,
        mavenPlugin,
        `-DoutputDirectory=${libs}`,
        '-DincludeScope=runtime',
        // Native code for other systems than the image's.
        '-DexcludeClassifiers=osx-aarch_64,osx-x86_64,windows-x86_64',
      ],
      {
        report,
        show: (line) =>
          line.startsWith('Downloaded') ? line.replace(/^Downloaded from \S+: \S+\//, '') : undefined,
      },
    );
    const agent = (await readdir(libs)).find((file) => file.startsWith('jmx_prometheus_javaagent-'));
    if (agent !== undefined) {
      await mkdir(join(folder, 'jmx'));
      await rename(join(libs, agent), join(folder, 'jmx', 'jmx_prometheus_javaagent.jar'));
    }
  });
}

interface GoModule {
  readonly path: string;
  readonly version: string;
}

/**
 * Builds a main package of a Go module, inside the module's own folder: not all can be built by `go install` (a replace
 * directive in one, another path in another's go.mod).
 * Downloads begin at once; compiling waits its turn, because Go fills all cores by itself and two at once only finish
 * both late.
 */
async function goBuild(module: GoModule, packagePath: string, output: string, report: Report): Promise<void> {
  await needProgram(
    ['go'],
    [],
    'Image source `build` needs Go 1.26.5 or newer (https://go.dev/dl/).',
    report,
  );
  report(`downloading ${module.path}`);
  const downloaded = await run('go', ['mod', 'download', '-json', `${module.path}@${module.version}`], {
    report,
    show: () => undefined,
    cwd: cacheDirectory(),
    env: { GOWORK: 'off' },
  });
  const { Dir } = JSON.parse(downloaded) as { Dir: string };
  const common = { report, cwd: Dir, env: { CGO_ENABLED: '0', GOWORK: 'off' } };
  // Listing a package's dependencies downloads them and compiles nothing.
  await run('go', ['list', '-deps', '-f', '', packagePath], {
    ...common,
    show: (line) => (line.startsWith('go: downloading') ? line.slice('go: '.length) : undefined),
  });
  report('downloaded; waiting for another Go build');
  const build = [
    'go',
    'build',
    '-v',
    '-trimpath',
    '-buildvcs=false',
    '-ldflags=-s -w',
    '-o',
    output,
    packagePath,
  ];
  let compiled = 0;
  await inTurn(() =>
    // At low priority: everything else of a cold start is short and goes before this.
    run('nice', ['-n', '10', ...build], {
      ...common,
      show: (line) => `compiling: ${++compiled} packages so far (${line})`,
    }),
  );
}

let goBuilds: Promise<unknown> = Promise.resolve();

/** Runs the Go builds of this process one after the other. */
function inTurn<T>(build: () => Promise<T>): Promise<T> {
  const result = goBuilds.then(build);
  goBuilds = result.catch(() => undefined);
  return result;
}

/** Jaeger's binary: folder with `jaeger-linux`. */
export function jaegerBinary(report: Report): Promise<string> {
  return artifact('jaeger', `${versions.jaegerModule}-${process.arch}`, report, (folder) =>
    goBuild(jaegerModule, './cmd/jaeger', join(folder, 'jaeger-linux'), report),
  );
}

/** VictoriaLogs' binary, its web UI inside: folder with `victoria-logs`. */
export function victorialogsBinary(report: Report): Promise<string> {
  return artifact('victorialogs', `${versions.victorialogs}-${process.arch}`, report, (folder) =>
    goBuild(victorialogsModule, './app/victoria-logs', join(folder, 'victoria-logs'), report),
  );
}

/** Terraform's name for this machine. */
function terraformPlatform(): string {
  const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64', arm: 'arm', ia32: '386' };
  return `${process.platform}_${architectures[process.arch] ?? process.arch}`;
}

/**
 * A Terraform filesystem mirror that holds the docker provider, built from its Go module.
 * Folder with mirror/ and terraform.rc (for TF_CLI_CONFIG_FILE).
 */
export function providerMirror(report: Report): Promise<string> {
  return artifact('terraform-provider-docker', providerKey, report, async (folder) => {
    const inMirror = [
      'registry.terraform.io',
      'kreuzwerker',
      'docker',
      providerModule.release,
      terraformPlatform(),
    ];
    const target = join(folder, 'mirror', ...inMirror);
    await mkdir(target, { recursive: true });
    await goBuild(
      providerModule,
      '.',
      join(target, `terraform-provider-docker_v${providerModule.release}`),
      report,
    );
    // The final path, not the temporary one this is written in.
    const mirror = join(artifactFolder('terraform-provider-docker', providerKey), 'mirror');
    await writeFile(
      join(folder, 'terraform.rc'),
      `# The docker provider comes from this machine; Terraform asks no registry.\nprovider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }\n}\n`,
    );
  });
}

const providerKey = `${providerModule.version}-${process.platform}-${process.arch}`;

/** Configuration file of the mirror when it has been built, else undefined. */
export async function builtProviderConfig(): Promise<string | undefined> {
  const file = join(artifactFolder('terraform-provider-docker', providerKey), 'terraform.rc');
  return (await exists(file)) ? file : undefined;
}

/**
 * A minimal Debian root as tar file, made by debootstrap (needs root). Folder with `root.tar`.
 * Security and point-release updates are in its sources.list, so that what images install on top is current.
 */
export function debianRoot(report: Report): Promise<string> {
  return artifact('debian', `${debianImage.tag.split(':')[1]}-${process.arch}`, report, async (folder) => {
    if (process.getuid?.() !== 0) {
      throw new MusterError(
        'MUSTER_TOOL_MISSING',
        `the engine cannot pull ${debianImage.ref}, and making a Debian base image by debootstrap needs root. Run this as root once, or load the image by hand (docker load), then run this again.`,
      );
    }
    await needProgram(
      ['debootstrap'],
      ['debootstrap'],
      `The engine cannot pull ${debianImage.ref}: load it by hand (docker load), or install debootstrap.`,
      report,
    );
    await withTemporaryFolder(async (temporary) => {
      const root = join(temporary, 'root');
      const sources = await debianSources(debianImage.suite);
      const mirror = sources.slice(0, 1).map(({ uri }) => uri);
      await run('debootstrap', ['--variant=minbase', debianImage.suite, root, ...mirror], {
        report,
        env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
        show: (line) => line.replace(/^I: /, 'debootstrap: '),
      });
      if (sources.length > 0) {
        const lines = sources.map(({ uri, release }) => `deb ${uri} ${release} main\n`);
        await writeFile(join(root, 'etc/apt/sources.list'), lines.join(''));
      }
      // As in the official slim image: no package lists or archives, no manuals, no translations; nothing asks.
      await writeFile(
        join(root, 'etc/dpkg/dpkg.cfg.d/slim'),
        ['doc', 'info', 'locale', 'man'].map((name) => `path-exclude /usr/share/${name}/*\n`).join(''),
      );
      await writeFile(
        join(root, 'etc/apt/apt.conf.d/slim'),
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\nAcquire::Retries "3";\n',
      );
      await writeFile(join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
      for (const path of ['var/cache/apt', 'var/lib/apt/lists', 'var/log']) await empty(join(root, path));
      for (const name of ['doc', 'info', 'locale', 'man']) await empty(join(root, 'usr/share', name));
      // The machine's own name and resolver do not belong in an image.
      for (const path of ['etc/hostname', 'etc/resolv.conf']) await rm(join(root, path), { force: true });
      await run('tar', ['-C', root, '--numeric-owner', '-cf', join(folder, 'root.tar'), '.'], { report });
    });
  });
}

/**
 * The mirrors that this machine's own apt uses for a Debian suite, its updates and its security fixes, the suite itself
 * first; empty on another system, where debootstrap's default serves.
 */
async function debianSources(suite: string): Promise<{ uri: string; release: string }[]> {
  const { stdout } = await execa(
    'apt-get',
    ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'],
    { reject: false },
  );
  const releases = [suite, `${suite}-updates`, `${suite}-security`];
  const found = new Map<string, string>();
  for (const line of (stdout ?? '').split('\n')) {
    const [uri, release] = line.split(' ');
    if (uri !== undefined && release !== undefined && !found.has(release)) found.set(release, uri);
  }
  if (!found.has(suite)) return [];
  return releases.flatMap((release) => {
    const uri = found.get(release);
    return uri === undefined ? [] : [{ uri, release }];
  });
}

async function empty(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** Puts the Debian root into the engine as an image of ours. */
export async function importDebian(dockerHost: string, report: Report): Promise<void> {
  const file = join(await debianRoot(report), 'root.tar');
  report('docker import');
  const label = ['--change', 'LABEL muster.image=debian', '--change', 'CMD ["/bin/sh"]'];
  const result = await execa('docker', ['import', ...label, '-', debianImage.tag], {
    reject: false,
    input: createReadStream(file),
    env: { DOCKER_HOST: dockerHost },
    all: true,
  });
  if (result.exitCode !== 0)
    throw new MusterError('MUSTER_BUILD_FAILED', `docker import failed: ${result.all}`);
}

/** The production packages of package-lock.json, installed for Linux: folder with node_modules/. */
export async function productionModules(report: Report): Promise<string> {
  const lock = await readFile(join(checkout, 'package-lock.json'), 'utf8');
  const key = `${hashOf(productionDependencies(JSON.parse(lock)))}-${process.arch}`;
  return artifact('node-modules', key, report, async (folder) => {
    await writeFile(join(folder, 'package-lock.json'), lock);
    await cp(join(checkout, 'package.json'), join(folder, 'package.json'));
    report('npm install --omit=dev');
    // Not `npm ci`: it refuses a lock in which packages for other platforms are absent, as locks are that were written
    // against a registry without them. The lock's versions and checksums hold all the same.
    const only = ['--omit=dev', '--ignore-scripts', '--libc=glibc'];
    await run('npm', ['install', ...only, '--no-audit', '--no-fund', '--loglevel=error'], {
      report,
      cwd: folder,
    });
    await rm(join(folder, 'node_modules/.package-lock.json'), { force: true });
    // Types and source maps are never read at run time and are a large part of the files.
    for (const entry of await readdir(join(folder, 'node_modules'), {
      recursive: true,
      withFileTypes: true,
    })) {
      if (entry.isFile() && /\.(d\.[cm]?ts|map)$/.test(entry.name))
        await rm(join(entry.parentPath, entry.name));
    }
  });
}
