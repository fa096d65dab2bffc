/**
 * The order of answers that carry a version. Those of one id are on one partition, and while nothing is broken a word
 * that is new has a higher version than all before it; what was said already may be said again at any time. Pure.
 *
 * When sends fail or workers die, an answer may come after its own correction: another life of the worker begins lower,
 * a send is tried again behind a later one, a member that was put out still had one on its way. That is what versions are
 * for (who keeps the highest is right), and no finding.
 */
import { type Finding, found, traceIdOf } from './verdict.ts';

export interface VersionedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly headers: Readonly<Record<string, unknown>>;
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
    if (disturbed) continue;
    let highest = 0;
    const said = new Set<number>();
    for (const { version, partition, offset, headers } of own) {
      if (version < highest && !said.has(version)) {
        const detail = `version ${version} was first said after version ${highest}, at ${topic}-${partition}-${offset}`;
        findings.push(found('order', id, detail, traceIdOf(headers)));
        break;
      }
      highest = Math.max(highest, version);
      said.add(version);
    }
  }
  return findings;
}
