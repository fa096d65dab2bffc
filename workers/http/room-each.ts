import type { FastifyRequest } from 'fastify';

/**
 * Room of each caller, so that one cannot take what is there for all. Takes one and returns what gives it back; undefined: the
 * caller has `most`. An operator asks for others.
 */
export function roomEach(most: number): (request: FastifyRequest) => (() => void) | undefined {
  const counts = new Map<string, number>();
  return ({ principal }) => {
    if (principal === undefined || principal.role === 'operator') return () => {};
    const caller = `${principal.role} ${principal.subject}`;
    const count = counts.get(caller) ?? 0;
    if (count >= most) return undefined;
    counts.set(caller, count + 1);
    return () => {
      const left = counts.get(caller)! - 1;
      if (left > 0) counts.set(caller, left);
      else counts.delete(caller);
    };
  };
}
