/**
 * The order of answers that carry a version. Those of one id are on one partition, and while nothing is broken a word
 * that is new has a higher version than all before it; what was said already may be said again at any time. Pure.
 *
 * When sends fail or workers die, an answer may come after its own correction: another life of the worker begins lower,
 * a send is tried again behind a later one, a member that was put out still had one on its way. That is what versions are
 * for (who keeps the highest is right), and no finding.
 */
import type { SeenRecord } from './reading.ts';
import { type Finding, found } from './verdict.ts';
import { nameOf, traceIdOf } from './wire.ts';

export interface VersionedRecord {
  readonly record: SeenRecord;
  readonly id: string;
  readonly version: number;
}

/**
 * @param records of one topic, each partition's in order of offsets
 * @param disturbed whether something was broken meanwhile
 */
export function checkVersions(
  topic: string,
  records: readonly VersionedRecord[],
  disturbed: boolean,
): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [id, own] of Map.groupBy(records, (record) => record.id)) {
    const elsewhere = own.find(({ record }) => record.partition !== own[0]!.record.partition);
    if (elsewhere !== undefined) {
      findings.push(
        found(
          'order',
          id,
          `on partitions ${own[0]!.record.partition} and ${elsewhere.record.partition} of ${topic}: nobody can tell which word is the last`,
          traceIdOf(elsewhere.record),
        ),
      );
      continue;
    }
    if (disturbed) continue;
    let highest = 0;
    const said = new Set<number>();
    for (const { version, record } of own) {
      if (version < highest && !said.has(version)) {
        const detail = `version ${version} was first said after version ${highest}, at ${nameOf(record)}`;
        findings.push(found('order', id, detail, traceIdOf(record)));
        break;
      }
      highest = Math.max(highest, version);
      said.add(version);
    }
  }
  return findings;
}
