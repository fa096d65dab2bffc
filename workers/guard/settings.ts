/** Settings of the guard: who is guarded, as whom they are asked, where its note is kept. */
import { type Static, Type } from 'typebox';

export const guardSettings = Type.Object({
  GUARD_MEMBERS: Type.String({
    pattern: '^[a-z0-9-]+=[^\\s,:=]+:\\d{1,5},[a-z0-9-]+=[^\\s,:=]+:\\d{1,5}$',
    description: 'the two database servers, as name=host:port,name=host:port',
  }),
  GUARD_MYSQL_USER: Type.String({ minLength: 1, description: 'MySQL user that may do everything' }),
  GUARD_MYSQL_PASSWORD: Type.String({ minLength: 1, description: 'its password' }),
  GUARD_REPLICA_USER: Type.String({ minLength: 1, description: 'MySQL user by whom one follows the other' }),
  GUARD_REPLICA_PASSWORD: Type.String({ minLength: 1, description: 'its password' }),
  GUARD_DIRECTORY: Type.String({ minLength: 1, description: 'where the guard keeps who writes' }),
  GUARD_ENTRANCE: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'socket of the entrance that clients use; unset: there is none',
    }),
  ),
});
export type GuardSettings = Static<typeof guardSettings>;

export interface MemberAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export function membersOf({ GUARD_MEMBERS }: Pick<GuardSettings, 'GUARD_MEMBERS'>) {
  return GUARD_MEMBERS.split(',').map((member): MemberAddress => {
    const [, name, host, port] = /^(.+)=(.+):(\d+)$/.exec(member)!;
    return { name: name!, host: host!, port: Number(port) };
  }) as [MemberAddress, MemberAddress];
}
