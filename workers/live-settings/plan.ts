/** What has to be changed so that running brokers are as the catalog says. Pure: looks at nothing but its arguments. */
import type { DescribedSetting } from '../kafka/broker-admin.ts';

/** What Kafka said. */
export interface SeenSettings {
  /** Set for all brokers at once, by name. */
  readonly clusterWide: ReadonlyMap<string, string>;
  /** In effect, by broker and name. */
  readonly inEffect: ReadonlyMap<number, ReadonlyMap<string, DescribedSetting>>;
}

export interface SettingChange {
  readonly name: string;
  readonly from: string | undefined;
  /** undefined: removed, so that the broker's file or Kafka's default counts. */
  readonly to: string | undefined;
}

export interface SettingsPlan {
  readonly changes: readonly SettingChange[];
  /** Of ours, what is to be noted in Kafka, or no more. */
  readonly notes: ReadonlyMap<string, string | undefined>;
  /** What is set and nobody's order, in words. */
  readonly kept: readonly string[];
}

/**
 * Kafka keeps settings whose names it does not know, for plugins: by these it is remembered which ones are ours. What somebody
 * else has set is never removed.
 */
const notePrefix = 'muster.set.';
const noteOf = (name: string) => `${notePrefix}${name}`;

/** A number of threads goes to no more than twice and no less than half of what it is: Kafka refuses anything else. */
const threadCounts = new Set([
  'background.threads',
  'log.cleaner.threads',
  'num.io.threads',
  'num.network.threads',
  'num.recovery.threads.per.data.dir',
  'num.replica.fetchers',
]);

/** Names whose values in effect a plan looks at. */
export function namesToLookAt(
  wanted: ReadonlyMap<string, string>,
  clusterWide: SeenSettings['clusterWide'],
): readonly string[] {
  const set = [...clusterWide.keys()].filter((name) => !name.startsWith(notePrefix));
  return [...new Set([...wanted.keys(), ...set])];
}

/** One round: where a setting cannot go all the way at once, the next round goes on. */
export function planSettings(wanted: ReadonlyMap<string, string>, seen: SeenSettings): SettingsPlan {
  const { clusterWide } = seen;
  const changes: SettingChange[] = [];
  const notes = new Map<string, string | undefined>();
  const kept: string[] = [];
  for (const [name, value] of wanted) {
    const from = clusterWide.get(name);
    if (from !== value) changes.push({ name, from, to: reachable(name, value, seen) });
    if (!clusterWide.has(noteOf(name))) notes.set(noteOf(name), 'true');
  }
  for (const [name, from] of clusterWide) {
    if (name.startsWith(notePrefix) || wanted.has(name)) continue;
    if (!clusterWide.has(noteOf(name))) {
      kept.push(`${name}=${from} is set for all brokers, and the catalog does not name it; kept`);
      continue;
    }
    const fallback = fallbackOf(name, seen);
    const next = fallback === undefined ? undefined : reachable(name, fallback, seen);
    const isLast = next === fallback;
    changes.push({ name, from, to: isLast ? undefined : next });
    if (isLast) notes.set(noteOf(name), undefined);
  }
  for (const note of clusterWide.keys()) {
    const name = note.slice(notePrefix.length);
    // Somebody else has removed it.
    if (note.startsWith(notePrefix) && !wanted.has(name) && !clusterWide.has(name))
      notes.set(note, undefined);
  }
  for (const [broker, settings] of seen.inEffect)
    for (const [name, { value, source }] of settings)
      if (source === 'broker')
        kept.push(
          `broker ${broker} has ${name}=${value} of its own, which goes before what all are told; kept`,
        );
  return { changes, notes, kept };
}

/** Those that the value for all brokers counts for. */
const following = (name: string, { inEffect }: SeenSettings): readonly DescribedSetting[] =>
  [...inEffect.values()]
    .flatMap((settings) => settings.get(name) ?? [])
    .filter(({ source }) => source !== 'broker');

const fallbackOf = (name: string, seen: SeenSettings): string | undefined =>
  threadCounts.has(name) ? following(name, seen)[0]?.fallback : undefined;

function reachable(name: string, value: string, seen: SeenSettings): string {
  if (!threadCounts.has(name)) return value;
  const now = following(name, seen).map((setting) => Number(setting.value));
  const least = Math.max(...now.map((count) => Math.floor(count / 2)));
  const most = Math.min(...now.map((count) => count * 2));
  return String(Math.max(least, Math.min(most, Number(value))));
}

/** Brokers write numbers in their own way: 5.0E8. */
const isSame = (value: string, other: string) =>
  value === other || (value !== '' && Number(value) === Number(other));

/** Whether every broker works with the changes. */
export function isInEffect(changes: readonly SettingChange[], seen: SeenSettings): boolean {
  return changes.every(({ name, to }) =>
    following(name, seen).every(({ value, source }) =>
      to === undefined ? source !== 'cluster' : source === 'cluster' && isSame(value, to),
    ),
  );
}

/** The plan as lines for people. */
export function describeSettings({ changes, kept }: SettingsPlan): readonly string[] {
  const lines = changes.map(({ name, from, to }) => {
    if (to === undefined) return `- ${name}: ${from} is taken back`;
    return from === undefined ? `+ ${name}=${to}` : `~ ${name}: ${from} -> ${to}`;
  });
  return [...lines, ...kept.map((what) => `! ${what}`)];
}

/** What a properties file says. Throws for a line that is neither a setting nor a comment. */
export function readProperties(text: string): ReadonlyMap<string, string> {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const [, name, value] = /^([\w.-]+)=(.+)$/.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new Error(`not a setting: ${line}`);
      return [name, value];
    }),
  );
}
