/** How close a group's next record is to being deleted before it was read. */

export interface Retention {
  /** `cleanup.policy` has delete in it. */
  readonly deletes: boolean;
  /** Undefined: without limit. */
  readonly ms: number | undefined;
  readonly bytes: number | undefined;
}

/** From a topic's settings as Kafka names them; undefined when they could not be read. */
export function retentionFrom(settings: Readonly<Record<string, string>> | undefined): Retention | undefined {
  const policy = settings?.['cleanup.policy'];
  if (policy === undefined) return undefined;
  const limit = (text: string | undefined) => {
    const value = Number(text ?? '-1');
    return Number.isFinite(value) && value >= 0 ? value : undefined;
  };
  return {
    deletes: policy.split(',').includes('delete'),
    ms: limit(settings?.['retention.ms']),
    bytes: limit(settings?.['retention.bytes']),
  };
}

/**
 * 0: nothing is waiting; 1: the next record is about to be deleted, or records were deleted unread. By time: its age as
 * a share of the retention time. By position: how far back it is between log end and log start; that counts only where
 * the size limits the log and has deleted from it (start above 0), or where the limits are not known.
 */
export function retentionUsed(input: {
  /** Offset of the first record that the group has not read, whether it is still there or not. */
  readonly unread: number;
  readonly position: number;
  readonly start: number;
  readonly end: number;
  readonly ageMs: number;
  readonly retention: Retention | undefined;
}): number {
  const { unread, position, start, end, ageMs, retention } = input;
  if (unread < start) return 1;
  if (position >= end) return 0;
  const byPosition = start > 0 ? (end - position) / (end - start) : 0;
  if (retention === undefined) return clamp(byPosition);
  if (!retention.deletes) return 0;
  const byTime = retention.ms === undefined ? 0 : retention.ms === 0 ? 1 : ageMs / retention.ms;
  return clamp(Math.max(byTime, retention.bytes === undefined ? 0 : byPosition));
}

const clamp = (ratio: number) => Math.min(1, Math.max(0, ratio));
