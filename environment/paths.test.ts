import { homedir } from 'node:os';
import test from 'ava';
import { cacheDirectory, stateDirectory } from './paths.ts';

test('the cache follows XDG_CACHE_HOME, and an empty value counts as unset', (t) => {
  t.is(cacheDirectory({ XDG_CACHE_HOME: '/x' }), '/x/muster');
  t.is(cacheDirectory({ XDG_CACHE_HOME: '' }), `${homedir()}/.cache/muster`);
});

test('an environment has its own state folder, absolute, and MUSTER_STATE_DIR wins', (t) => {
  t.is(stateDirectory('dev', { MUSTER_STATE_DIR: '/s', XDG_STATE_HOME: '/x' }), '/s/dev');
  t.is(stateDirectory('ci', { XDG_STATE_HOME: '/x' }), '/x/muster/ci');
  t.is(stateDirectory('dev', {}), `${homedir()}/.local/state/muster/dev`);
  t.true(stateDirectory('dev', { MUSTER_STATE_DIR: 'relative' }).startsWith('/'));
});
