/**
 * The order of answers that carry a version: those of one id are on one partition, and one that says something new has
 * a higher version than all before it. Pure.
 *
 * Whoever takes over says again what may not have been acked, from where it stands: there a version may be lower than one
 * before, as long as the highest is said again after it. A version that was said already may come at any time.
 */
import { type Finding, found, traceIdOf } from './verdict.ts';

export interface VersionedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly id: string;
  readonly version: number;
}

/** @param records of one topic, each partition's in order of offsets */
export function checkVersions(topic: string, records: readonly VersionedRecord[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [id, own] of Map.groupBy(records, (record) => record.id)) {
    const elsewhere = own.find(({ partition }) => partition !== own[0]!.partition);
    if (elsewhere !== undefined) {
      findings.push(
        found(
          'order',
          id,
          `on partitions ${own[0]!.partition} and ${elsewhere.partition} of ${topic}: nobody can tell which word is the last`,
          traceIdOf(elsewhere.headers),
        ),
      );
      continue;
    }
    const said = new Set<number>();
    let highest = 0;
    let late: VersionedRecord | undefined;
    for (const record of own) {
      if (record.version >= highest) {
        highest = record.version;
        late = undefined;
      } else if (!said.has(record.version)) late ??= record;
      said.add(record.version);
    }
    if (late !== undefined)
      findings.push(
        found(
          'order',
          id,
          `version ${late.version} was first said after version ${highest}, at ${topic}-${late.partition}-${late.offset}`,
          traceIdOf(late.headers),
        ),
      );
  }
  return findings;
}
