/**
 * Judges what membership has told of its members, and whether their accounts follow them: rows of two databases and a topic,
 * also of members that nobody of this run has touched. Pure.
 */
import { topics } from '../../catalog/topics.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, nameOf, showing, traceIdOf } from './wire.ts';

export const memberTopics: readonly string[] = [topics.memberEvents.name];

/** A member, and its account as the books have it. */
export interface MemberRow {
  readonly pseudonym: string;
  readonly state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED';
  /** Of its last change that others are to hear of, and whether that was since the run began. */
  readonly version: number;
  readonly isNew: boolean;
  /** Null: there is none. */
  readonly account: 'OPEN' | 'SUSPENDED' | 'CLOSED' | null;
  /** In it, held, or on its way to it. */
  readonly hasMoney: boolean;
}

/** @param records everything on member-events since the run began; each partition's in order of offsets */
export function checkMembers(
  rows: readonly MemberRow[],
  records: readonly SeenRecord[],
  personal: readonly string[],
): Verdict {
  const findings: Finding[] = [];
  const newest = new Map<string, number>();
  const told = new Set<string>();
  let repeats = 0;
  for (const record of records) {
    const { member, version } = (bodyOf(record) ?? {}) as { member?: string; version?: number };
    if (member === undefined || version === undefined) continue;
    const before = newest.get(member) ?? 0;
    if (told.has(`${member}-${version}`)) repeats += 1;
    else if (version < before)
      findings.push(
        found('order', member, `${nameOf(record)} is older than what came before`, traceIdOf(record)),
      );
    told.add(`${member}-${version}`);
    newest.set(member, Math.max(before, version));
  }
  for (const { pseudonym, version, isNew } of rows)
    if (isNew && !told.has(`${pseudonym}-${version}`))
      findings.push(found('untold', `${pseudonym}-${version}`, 'its last change is not on member-events'));
  for (const row of rows)
    if (!follows(row))
      findings.push(
        found('wrong', row.pseudonym, `is ${row.state}, and its account is ${row.account ?? 'not there'}`),
      );
  const shown = showing(records, personal);
  if (shown !== undefined)
    findings.push(found('personal-data', nameOf(shown), 'an event of a member shows who it is'));
  return {
    subject: 'members',
    acked: 0,
    looked: `${rows.length} members, of whom ${rows.filter(({ isNew }) => isNew).length} changed in this run`,
    inDoubt: 0,
    repeats,
    findings,
  };
}

/** Who has left with money keeps an account that nobody can use; staff may have opened it to pay out. */
function follows({ state, account, hasMoney }: MemberRow): boolean {
  if (state === 'ACTIVE') return account === 'OPEN';
  if (state === 'SUSPENDED') return account === 'SUSPENDED';
  return hasMoney ? account !== 'CLOSED' : account === 'CLOSED' || account === null;
}
