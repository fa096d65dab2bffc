/** What terraform needs in its environment when it is not `up` that prepared everything. */
import type { Environment, ImageSource } from '../catalog/environments.ts';
import { cdktfVariables, ensureCredentials } from '../environment/variables.ts';
import { loadedImages, rememberedImages } from './deployment.ts';
import { canPull, runningEngine } from './engine.ts';
import { knownTerraformConfigFile } from './provider.ts';
import { renderEverything, writeRendered } from './render.ts';

/** As the environment is deployed; what a synthesis reads (secrets, rendered files) is made when it is not there. */
export async function variablesByHand(
  environment: Environment,
  wanted: ImageSource | undefined,
): Promise<Record<string, string>> {
  await ensureCredentials(environment);
  await writeRendered(await renderEverything());
  const running = await runningEngine().catch(() => undefined);
  const pulls = async () => running !== undefined && (await canPull(running.dockerHost));
  const images = wanted ?? (await rememberedImages(environment)) ?? ((await pulls()) ? 'registry' : 'build');
  return cdktfVariables(environment, {
    images,
    localImages: running === undefined ? [] : await loadedImages(images),
    dockerHost: running?.dockerHost ?? process.env.DOCKER_HOST,
    terraformConfigFile: await knownTerraformConfigFile(images),
  });
}
