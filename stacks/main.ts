/** The app of cdktf.json: one environment, its four stacks. */
import { join } from 'node:path';
import { App } from 'cdktf';
import { createStacks } from './environment.ts';
import { imageRef } from './images.ts';
import { readSettings } from './settings.ts';

try {
  const app = new App();
  createStacks(app, readSettings(process.env, join(import.meta.dirname, '../build'), imageRef));
  app.synth();
} catch (error) {
  // What a person can put right is said in one line; anything else is ours and keeps its stack trace.
  if (!(error instanceof Error && String((error as { code?: unknown }).code).startsWith('MUSTER_')))
    throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 78;
}
