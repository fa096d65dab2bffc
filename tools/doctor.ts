/** What `up` needs, looked at before it begins. Nothing is installed, started, pulled or built. */
import { type Environment, type ImageSource, spansHosts } from '../catalog/environments.ts';
import { type Paint, plainTable, tableText } from '../drawing/table.ts';
import { containersOf } from '../environment/docker.ts';
import { MusterError } from '../workers/base/errors.ts';
import { leftOut, loadedImages } from './deployment.ts';
import { type Engine, engineMemory, ensureDiskSpace, lookForEngine, refuseRemote } from './engine.ts';
import { imageJobs } from './images.ts';
import { decideImages, refuseOthers, spaceFor } from './lifecycle.ts';
import { memoryLimitMiB, memoryOf } from './memory.ts';
import { freePorts } from './ports.ts';
import { findProgram, mayInstall } from './programs.ts';
import { ensureTerraform } from './provider.ts';

export interface Check {
  readonly what: string;
  /** What was found, for people; throws an error of ours that says what is in the way. */
  look(): Promise<string>;
}

export interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly says: string;
}

/** Looks at one after the other; what one finds does not keep the next from being looked at. */
export async function findingsOf(checks: readonly Check[]): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const { what, look } of checks)
    try {
      findings.push({ what, ok: true, says: await look() });
    } catch (error) {
      if (!(error instanceof MusterError)) throw error;
      findings.push({ what, ok: false, says: `${error.message} (${error.code})` });
    }
  return findings;
}

export function findingsTable(findings: readonly Finding[], paint: Paint): string {
  const table = plainTable(['', 'what', 'found'], [], paint);
  for (const { what, ok, says } of findings)
    table.push([ok ? paint('green', '✔') : paint('red', '✖'), what, says]);
  return tableText(table);
}

/** Programs by which images are made where none can be pulled, and whether `up` installs them where it may. */
const builders: readonly (readonly [program: string, isInstalled: boolean, what: string])[] = [
  ['go', false, 'Go 1.26.5 or newer (https://go.dev/dl/)'],
  ['mvn', true, 'Apache Maven (https://maven.apache.org/install.html)'],
];

/** In the order in which `up` would come upon them. */
export function checksOf(
  environment: Environment,
  wanted: ImageSource | undefined,
  signal: AbortSignal,
): readonly Check[] {
  const isLocal = Object.values(environment.hosts).every(({ dockerUri }) => dockerUri === undefined);
  let engine: Engine | undefined;
  let source: ImageSource | undefined;
  /** What asks the engine. */
  const ofEngine = (what: string, look: (engine: Engine) => Promise<string>): Check => ({
    what,
    look: async () => (engine === undefined ? 'not known without an engine' : look(engine)),
  });
  const without = async () =>
    source === undefined ? new Set<string>() : leftOut(source, await loadedImages(source));
  return [
    { what: 'terraform', look: ensureTerraform },
    {
      what: 'engine',
      async look() {
        engine = await lookForEngine();
        if (engine === undefined) return 'none runs: ./muster up starts one, and installs it if need be';
        if (isLocal) refuseRemote(engine);
        return `${engine.version} at ${engine.dockerHost}`;
      },
    },
    ofEngine('whose', async () => {
      await refuseOthers(environment, false);
      return (await containersOf(environment, signal)).length === 0 ? 'nothing of it is there' : 'ours';
    }),
    ofEngine('images', async (found) => {
      const decided = await decideImages(environment, wanted, found);
      source = decided.images;
      const jobs = await imageJobs(source, { dockerHost: found.dockerHost, provider: false });
      const missing = builders.filter(
        ([program, isInstalled]) => findProgram(program) === undefined && !(isInstalled && mayInstall()),
      );
      if (source === 'build' && jobs.length > 0 && missing.length > 0)
        throw new MusterError(
          'MUSTER_TOOL_MISSING',
          `Images have to be built, since ${decided.reason}, and for that is missing: ${missing.map(([, , what]) => what).join(', ')}.`,
        );
      const left = jobs.length === 0 ? 'all there' : `${jobs.length} to be pulled or made`;
      return `${source} (${decided.reason}), ${left}`;
    }),
    ofEngine('memory', async (found) => {
      const bytes = await engineMemory(found);
      if (bytes === undefined || spansHosts(environment)) return 'not looked at';
      const { says, share } = memoryOf(bytes, memoryLimitMiB(environment, await without()));
      if (share < 0.5)
        throw new MusterError(
          'MUSTER_MEMORY_SHORT',
          `${says}: give the engine more, or expect that it kills some of them.`,
        );
      return share < 1 ? `${says}: enough unless the load is high` : says;
    }),
    ofEngine('disk', async (found) => {
      await ensureDiskSpace(found, await spaceFor(source ?? 'build', found));
      return 'enough';
    }),
    {
      what: 'ports',
      async look() {
        if (!isLocal) return 'not looked at: on other hosts';
        const containers = engine === undefined ? [] : await containersOf(environment, signal);
        return `${await freePorts(environment, await without(), containers)}, free or ours`;
      },
    },
  ];
}
