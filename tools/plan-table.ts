/** What an `up` would change, in words: what, in which order, and what people will notice. Pure. */
import type { Environment } from '../catalog/environments.ts';
import { type Paint, plainTable, tableText } from '../drawing/table.ts';
import { movesEnsemble } from './rolling.ts';
import type { PlannedChange } from './terraform.ts';

export interface PlannedStep {
  /** `kafka-2`, `topics`, `volume mysql-data` */
  readonly name: string;
  readonly change: 'created' | 'changed in place' | 'replaced' | 'removed' | 'run again';
  /** What people notice; undefined: nothing. */
  readonly notice: string | undefined;
}

const jobs = new Set(['topics', 'live-settings', 'migrations', 'cmak-seed', 'gateway-settings']);

/** Of a job that runs again, what it changes while everything runs; undefined: no file of it says. */
function changedLive({ name, files }: PlannedChange): string | undefined {
  if (name === 'gateway-settings')
    return 'nothing; taken over while the gateway serves, and streams come again within 30 s';
  const [before, after] = [settingsIn(files.before), settingsIn(files.after)];
  const names = [...new Set([...before.keys(), ...after.keys()])].filter(
    (name) => before.get(name) !== after.get(name),
  );
  if (names.length === 0) return undefined;
  const each = names.map((name) => {
    const [from, to] = [before.get(name), after.get(name)];
    if (from === undefined) return `${name}=${to}`;
    return `${name} ${from} -> ${to ?? 'as Kafka has it'}`;
  });
  return `nothing; changed while all brokers run: ${each.join(', ')}`;
}

/** Lines of a properties file. */
const settingsIn = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^([a-z][\w.-]*)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));

/** By component, while it is replaced. */
function noticeOf(name: string, environment: Environment, isEnsembleMoved: boolean): string | undefined {
  if (isEnsembleMoved && name.startsWith('zookeeper-'))
    return 'all of them together: brokers serve on, unless one of them fails meanwhile';
  if (/^(kafka|zookeeper)-\d+$/.test(name))
    return 'one after the other: no request fails, some take up to 3 s';
  if (/^mysql-\d+$/.test(name)) return 'one after the other: some requests wait, or are told to try again';
  if (name === 'mysql-guard') return 'no member of MySQL takes over from the other for some seconds';
  if (name === 'mysql-entrance')
    return 'orders, coupons and my-pay answer 503 for some seconds; nothing accepted is lost';
  if (name === 'pages') return 'nobody sees metrics, alerts, traces or log lines for some seconds';
  if (name === 'gateway') return 'nobody is answered for some seconds';
  if (name === 'redis') return 'rankings stand still and nobody can log in for some seconds';
  const process = environment.processes.list.find(
    (one) => name.replace(/-\d+$/, '') === one.name || name === one.name,
  );
  if (process === undefined) return 'it is not watched, or seen, for some seconds';
  return process.gatewayPort === undefined
    ? 'its work waits for some seconds'
    : 'one after the other: no request fails';
}

/** Steps of a plan in the order of its changes; what stays as it is is left out. */
export function stepsOf(changes: readonly PlannedChange[], environment: Environment): readonly PlannedStep[] {
  const isEnsembleMoved = movesEnsemble(changes);
  return changes.flatMap((change): PlannedStep[] => {
    const { name, actions } = change;
    if (actions.includes('delete') && actions.includes('create'))
      return jobs.has(name)
        ? [{ name, change: 'run again', notice: changedLive(change) }]
        : [{ name, change: 'replaced', notice: noticeOf(name, environment, isEnsembleMoved) }];
    if (actions.includes('delete'))
      return [
        { name, change: 'removed', notice: name.startsWith('volume ') ? 'its data is gone' : undefined },
      ];
    if (actions.includes('create')) return [{ name, change: 'created', notice: undefined }];
    if (actions.includes('update')) return [{ name, change: 'changed in place', notice: undefined }];
    return [];
  });
}

/** One table for the stacks, in the order of their deployment. */
export function planTable(
  stacks: readonly { readonly name: string; readonly steps: readonly PlannedStep[] }[],
  paint: Paint,
): string {
  if (stacks.every(({ steps }) => steps.length === 0)) return 'Nothing would change.';
  const table = plainTable(['stack', 'what', 'is', 'people notice'], [], paint);
  for (const { name, steps } of stacks)
    for (const step of steps)
      table.push([
        paint('dim', name),
        step.name,
        step.change === 'replaced' || step.change === 'removed' ? paint('yellow', step.change) : step.change,
        step.notice ?? paint('dim', 'nothing'),
      ]);
  return tableText(table);
}
