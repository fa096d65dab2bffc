/** Whose account a request is about. Members name themselves by their id, services by their pseudonym: they know no ids. */
import type { FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import { isPseudonym, pseudonym } from '../base/pseudonym.ts';
import { HttpError } from '../http/errors.ts';
import { members, onlyOf, userOf } from '../http/principals.ts';
import { isMerchant } from './accounts.ts';

type Asking = Pick<FastifyRequest, 'principal'>;

export const unknownAccount = () => new HttpError(404, 'MUSTER_ACCOUNT_UNKNOWN', 'there is no such account');

export const isService = ({ principal }: Asking): boolean => principal?.role === 'service';

export type Callers = ReturnType<typeof callersOf>;

export function callersOf({
  database,
  pseudonymKey,
}: {
  database(): Promise<Kysely<unknown>>;
  readonly pseudonymKey: Buffer;
}) {
  /** The account of a member as the caller names them. Throws 404 when a service names anything but a member. */
  function accountOf(request: Asking, named: string): string {
    if (!isService(request)) return pseudonym(pseudonymKey, named);
    if (!isPseudonym(named)) throw unknownAccount();
    return named;
  }

  /**
   * Throws 404 for a merchant whom membership does not know as one: a shop and a customer may have one name where tokens are made
   * by hand, and must not share an account.
   */
  async function checkKnown({ principal }: Asking): Promise<void> {
    if (principal?.role !== 'merchant') return;
    if (!(await isMerchant(await database(), pseudonym(pseudonymKey, principal.subject))))
      throw unknownAccount();
  }

  return {
    accountOf,
    checkKnown,

    /** The account that a caller acts for: a member's own, named or not; others name one. As userOf() throws. */
    async actingFor(request: Asking, named: string | undefined, field: string): Promise<string> {
      const account = accountOf(request, userOf(request, named, field, members));
      await checkKnown(request);
      return account;
    },

    /** The one account whose things the caller may see; undefined: everybody's. */
    async onlyAccount(request: Asking): Promise<string | undefined> {
      const only = onlyOf(request, members);
      await checkKnown(request);
      return only === undefined ? undefined : pseudonym(pseudonymKey, only);
    },
  };
}
