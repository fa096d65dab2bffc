/** Routes whose handlers are given what their schemas say. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';

export const typed = (http: FastifyInstance) => http.withTypeProvider<TypeBoxTypeProvider>();
export type TypedHttp = ReturnType<typeof typed>;
