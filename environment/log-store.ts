/** An environment's log store, from its host. */
import type { Environment } from '../catalog/environments.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { logRows, type StoredRow } from '../workers/views/log-store.ts';

/** As `logRows`. */
export function queryLogs(
  environment: Environment,
  query: string,
  newest: number | undefined,
  signal: AbortSignal,
): Promise<readonly StoredRow[]> {
  return logRows(urlFromHost(environment, 'victorialogs'), query, newest, signal);
}
