/** Which groups and topics belong to a capability, from the catalog. */
import { allGroups } from '../catalog/groups.ts';
import { allTopics } from '../catalog/topics.ts';

/** Group ids of a capability. */
export function groupsOf(owner: string): string[] {
  return allGroups.filter((group) => group.owner === owner).map(({ id }) => id);
}

/** Topic names of capabilities, as a regular expression. */
export function topicsOf(...owners: readonly string[]): string {
  return allTopics
    .filter(({ owner }) => owners.includes(owner))
    .map(({ name }) => name.replaceAll('.', '[.]'))
    .join('|');
}
