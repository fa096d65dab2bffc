/** Everything derived from the catalog, as files under build/: what changes is written, what is stale goes. */
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { renderAlertTable, renderRules, renderRuleTests } from '../alerts/index.ts';
import { type Environment, environments } from '../catalog/environments.ts';
import { renderDashboards } from '../dashboards/index.ts';
import { checkout } from '../environment/paths.ts';
import { renderAll } from '../stacks/config/index.ts';
import { renderCatalog } from './asyncapi.ts';

export const buildDirectory = join(checkout, 'build');

export interface RenderChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: number;
}

/** Path below build/<environment>/ -> text. */
function environmentFiles(environment: Environment): ReadonlyMap<string, string> {
  return new Map([
    ...renderAll(environment),
    ...[...renderDashboards(environment)].map(
      ([name, text]) => [`grafana/dashboards/${name}`, text] as const,
    ),
    ...[...renderRules(environment)].map(([name, text]) => [`prometheus/rules/${name}`, text] as const),
    ...[...renderRuleTests(environment)].map(([name, text]) => [`prometheus/tests/${name}`, text] as const),
  ]);
}

/** Path below build/ -> text, of all environments and the catalog. Pure given the checkout; offline. */
export async function renderEverything(): Promise<ReadonlyMap<string, string>> {
  const { version } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
    version: string;
  };
  const files = new Map<string, string>();
  for (const environment of Object.values(environments))
    for (const [path, text] of environmentFiles(environment)) files.set(`${environment.name}/${path}`, text);
  for (const [path, text] of renderCatalog(version)) files.set(`catalog/${path}`, text);
  files.set('catalog/alerts.md', renderAlertTable(environments.prod));
  return files;
}

/** Makes the folders of `files` below `directory` hold exactly them; other folders there are left alone. */
export async function writeRendered(
  files: ReadonlyMap<string, string>,
  directory: string = buildDirectory,
): Promise<RenderChanges> {
  const added: string[] = [];
  const changed: string[] = [];
  const removed: string[] = [];
  let unchanged = 0;
  const rooms = new Set([...files.keys()].map((path) => path.split('/', 1)[0]!));
  for (const room of rooms) {
    for (const path of await filesBelow(directory, room)) {
      if (files.has(path)) continue;
      await rm(join(directory, path));
      removed.push(path);
    }
  }
  for (const [path, text] of files) {
    const file = join(directory, path);
    const present = await readFile(file, 'utf8').catch(() => undefined);
    if (present === text) {
      unchanged += 1;
      continue;
    }
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    (present === undefined ? added : changed).push(path);
  }
  for (const path of removed) await removeEmptyFolders(directory, dirname(path));
  return { added, changed, removed, unchanged };
}

async function filesBelow(directory: string, room: string): Promise<string[]> {
  const entries = await readdir(join(directory, room), { recursive: true, withFileTypes: true }).catch(
    () => [],
  );
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

async function removeEmptyFolders(directory: string, folder: string): Promise<void> {
  for (let current = folder; current !== '.' && current !== ''; current = dirname(current)) {
    try {
      await rmdir(join(directory, current));
    } catch {
      return;
    }
  }
}
