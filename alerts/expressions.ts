/** Pieces of PromQL that are easily written wrong, and series for proofs. */
import type { Segment } from './rule.ts';

/**
 * Counters that went up within `range`, summed by labels. A labelled counter is born with its first event, at 1:
 * `increase` alone sees no rise there, and the very first dead letter would go unnoticed.
 */
export function risen(counter: string, range: string, by: readonly string[]): string {
  const born = `(${counter} unless ${counter} offset ${range})`;
  return `sum by (${by.join(', ')}) (${born} or increase(${counter}[${range}])) > 0`;
}

/** The same metric of all three brokers, in order; further labels go into each. */
export function brokers(
  metric: string,
  each: readonly [readonly Segment[], readonly Segment[], readonly Segment[]],
  labels = '',
): Record<string, readonly Segment[]> {
  return Object.fromEntries(
    each.map((segments, index) => [
      `${metric}{job="kafka",instance="kafka-${index + 1}"${labels === '' ? '' : `,${labels}`}}`,
      segments,
    ]),
  );
}

/** The same metric of all three ZooKeepers, in order. */
export function zookeepers(
  metric: string,
  each: readonly [readonly Segment[], readonly Segment[], readonly Segment[]],
): Record<string, readonly Segment[]> {
  return Object.fromEntries(
    each.map((segments, index) => [`${metric}{job="zookeeper",instance="zookeeper-${index + 1}"}`, segments]),
  );
}
