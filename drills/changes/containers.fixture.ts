/**
 * Prints a hash of each container as the checkout that this file is in would deploy it, by its alias: `node containers.fixture.ts
 * <environment> <source>`. A container whose hash differs between two checkouts would be replaced.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'cdktf';
import { renderRules } from '../../alerts/index.ts';
import { environmentNamed } from '../../catalog/environments.ts';
import { renderDashboards } from '../../dashboards/index.ts';
import { secretsToShow } from '../../stacks/config/secrets.ts';
import { createStacks } from '../../stacks/environment.ts';
import { imageRef } from '../../stacks/images.ts';

const [name = '', source = ''] = process.argv.slice(2);
const environment = environmentNamed(name);
const filesOf = (files: ReadonlyMap<string, string>) =>
  [...files].map(([file, text]) => ({ name: file, text }));
const folder = await mkdtemp(join(tmpdir(), 'muster-containers-'));
const app = new App({ outdir: folder, stackTraces: false });
const stacks = createStacks(app, {
  environment,
  secrets: secretsToShow,
  stateDirectory: '/var/lib/muster-test',
  image: (image) => imageRef(image, source === 'registry' ? 'registry' : 'build'),
  dashboards: filesOf(renderDashboards(environment)),
  rules: filesOf(renderRules(environment)),
  mayReplace: () => true,
});
app.synth();
const hashes: Record<string, string> = {};
for (const { node } of Object.values(stacks)) {
  const text = readFileSync(join(folder, 'stacks', node.id, 'cdk.tf.json'), 'utf8');
  const { resource } = JSON.parse(text) as {
    resource: {
      docker_container: Record<string, { name: string; depends_on?: unknown; lifecycle?: unknown }>;
    };
  };
  for (const { depends_on: _, lifecycle: __, ...container } of Object.values(resource.docker_container))
    hashes[container.name.slice(environment.prefix.length + 1)] = createHash('sha256')
      .update(JSON.stringify(container))
      .digest('hex');
}
rmSync(folder, { recursive: true });
process.stdout.write(JSON.stringify(hashes));
