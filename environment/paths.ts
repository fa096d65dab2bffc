/** Where muster keeps things outside the checkout: a cache that may be deleted, and state that may not. */

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout this code runs from, absolute, without a trailing slash. */
export const checkout: string = resolve(fileURLToPath(new URL('..', import.meta.url)));

type Variables = Readonly<Record<string, string | undefined>>;

/** An environment variable's directory, made absolute; empty counts as unset, as the XDG specification says. */
function directory(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : resolve(value);
}

/** Downloads and builds that can be made again: `${XDG_CACHE_HOME:-~/.cache}/muster`. */
export function cacheDirectory(variables: Variables = process.env): string {
  return join(directory(variables.XDG_CACHE_HOME) ?? join(homedir(), '.cache'), 'muster');
}

/** What must survive, of all environments: `${MUSTER_STATE_DIR:-${XDG_STATE_HOME:-~/.local/state}/muster}`. */
export function stateRoot(variables: Variables = process.env): string {
  return (
    directory(variables.MUSTER_STATE_DIR) ??
    join(directory(variables.XDG_STATE_HOME) ?? join(homedir(), '.local', 'state'), 'muster')
  );
}

/** One environment's state: Terraform state, secrets.json (0600), log-inbox/. */
export function stateDirectory(environment: string, variables: Variables = process.env): string {
  return join(stateRoot(variables), environment);
}
