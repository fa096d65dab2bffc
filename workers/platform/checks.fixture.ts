/** Checks of promises for tests: made as the worker makes them, and what they find. */
import { type PromiseName, type PromiseSpec, promises } from '../../catalog/promises.ts';
import type { Check, CheckDeps } from './checks.ts';

/** The checks of these names, by name. */
export function checksFrom<Name extends PromiseName>(
  makers: Readonly<Record<Name, (deps: CheckDeps, promise: PromiseSpec) => Check>>,
  names: readonly Name[],
  deps: Partial<CheckDeps>,
): ReadonlyMap<Name, Check> {
  return new Map(
    names.map((name) => [name, makers[name](deps as CheckDeps, promises.find((one) => one.name === name)!)]),
  );
}

/** What the checks find now, by promise; those that hold are left out. Twice: a look at old rows takes a round. */
export async function brokenNow(
  checks: ReadonlyMap<string, Check>,
): Promise<Record<string, readonly string[]>> {
  const broken: Record<string, readonly string[]> = {};
  for (const [name, check] of checks) {
    await check();
    const { ids, broken: count } = await check();
    if (count > 0) broken[name] = ids;
  }
  return broken;
}
