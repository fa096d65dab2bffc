/**
 * Seeds a bug into the process that it is preloaded into: `node --import <this file's URL>?bug=<name> workers/main.ts ...`.
 * The text of modules is changed as they load; nothing on disk is, and no line of what is deployed knows of it.
 */
import { registerHooks } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { edited } from '../edits.ts';
import { bugNamed } from './bugs.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const { edits } = bugNamed(new URL(import.meta.url).searchParams.get('bug')!);
const open = new Set(edits.map(({ file }) => file));

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const file = url.startsWith('file:') ? relative(checkout, fileURLToPath(url)) : '';
    if (!open.delete(file)) return loaded;
    return { ...loaded, source: edited(file, String(loaded.source), edits) };
  },
});
