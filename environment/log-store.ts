/** Questions to an environment's log store (VictoriaLogs). */
import type { Environment } from '../catalog/environments.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';

/** A line as the store has it: what was asked for of its fields. */
type StoredRow = Readonly<Record<string, string>>;

/**
 * Rows of a LogsQL query, in no order; with `newest` only so many, of the newest. Throws MUSTER_LOGSTORE_DOWN when the store does
 * not answer, MUSTER_LOGSTORE when it answers with an error.
 */
export async function queryLogs(
  environment: Environment,
  query: string,
  newest: number | undefined,
  signal: AbortSignal,
): Promise<readonly StoredRow[]> {
  const base = urlFromHost(environment, 'victorialogs');
  const body = new URLSearchParams({ query, ...(newest === undefined ? {} : { limit: String(newest) }) });
  let response: Response;
  try {
    response = await fetch(`${base}/select/logsql/query`, {
      method: 'POST',
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(60_000)]),
    });
  } catch (cause) {
    throw new MusterError('MUSTER_LOGSTORE_DOWN', `The log store does not answer at ${base}.`, { cause });
  }
  const text = await response.text();
  if (!response.ok)
    throw new MusterError(
      'MUSTER_LOGSTORE',
      `The log store answers ${response.status}: ${text.slice(0, 300)}`,
    );
  return text
    .split('\n')
    .filter(Boolean)
    .map((row) => JSON.parse(row) as StoredRow);
}
