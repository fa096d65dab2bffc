/**
 * Which service asks which over HTTP. The process of a worker that asks gets a token of its own (SERVICE_TOKEN, role
 * `service`, subject: the process) and, for each worker it asks, the address of the process that has it: <WORKER>_URL.
 */
import { type Environment, environments } from './environments.ts';

/** By the worker that asks: the workers that it asks. */
const asks: Readonly<Record<string, readonly string[]>> = {
  banking: ['membership'],
  'money-recharges': ['banking'],
  remittance: ['money', 'banking'],
  payment: ['money'],
  settlement: ['payment', 'money', 'banking'],
};

/** The workers that a process of these workers asks. */
export function askedBy(workers: readonly string[]): readonly string[] {
  return [...new Set(workers.flatMap((worker) => asks[worker] ?? []))];
}

/** Names of the processes that ask others, of all environments. */
export const askingProcesses: readonly string[] = [
  ...new Set(
    Object.values(environments).flatMap(({ processes }: Environment) =>
      processes.list.filter(({ workers }) => askedBy(workers).length > 0).map(({ name }) => name),
    ),
  ),
];
