/**
 * The app of cdktf.json. With nothing prepared, in a fresh checkout too, it has the stacks of every environment, with the defaults of
 * `./muster`: rendered files and secrets are made when they are not there. With the variables that `./muster env` prints (a
 * provider mirror, another image source) it has those of one environment.
 */
import { App } from 'cdktf';
import { environments } from '../catalog/environments.ts';
import { cdktfVariables, ensureCredentials } from '../environment/variables.ts';
import { createStacks } from '../stacks/environment.ts';
import { imageRef } from '../stacks/images.ts';
import { readSettings } from '../stacks/settings.ts';
import { rememberedImages } from './deployment.ts';
import { buildDirectory, renderEverything, writeRendered } from './render.ts';

async function inputs(): Promise<readonly NodeJS.ProcessEnv[]> {
  if (process.env.MUSTER_STATE_DIRECTORY !== undefined) return [process.env];
  await writeRendered(await renderEverything());
  const all: NodeJS.ProcessEnv[] = [];
  for (const environment of Object.values(environments)) {
    await ensureCredentials(environment);
    const images = (await rememberedImages(environment)) ?? 'registry';
    all.push({
      ...process.env,
      ...cdktfVariables(environment, {
        images,
        localImages: [],
        dockerHost: process.env.DOCKER_HOST,
        terraformConfigFile: undefined,
      }),
    });
  }
  return all;
}

try {
  const all = await inputs();
  // What is synthesised holds passwords.
  process.umask(0o077);
  const app = new App();
  for (const variables of all) createStacks(app, readSettings(variables, buildDirectory, imageRef));
  app.synth();
} catch (error) {
  // What a person can put right is said in one line; anything else is ours and keeps its stack trace.
  if (!(error instanceof Error && String((error as { code?: unknown }).code).startsWith('MUSTER_')))
    throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 78;
}
