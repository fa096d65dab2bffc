/** Where Terraform keeps what it knows of an environment whose state is shared (`stateDatabase`). */
import type { Environment } from '../../catalog/environments.ts';

/**
 * Each stack has a schema of its own, `prod-kafka` `muster_prod_kafka`, and the environment itself (`prod`) `muster_prod`: two
 * environments, or two stacks, never meet.
 */
export const stateSchema = ({ name, prefix }: Environment, stack: string): string =>
  `${prefix}${stack.slice(name.length)}`.replaceAll('-', '_');
