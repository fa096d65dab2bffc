/** The consumer API's filters: values of one filter are alternatives, different filters must all hold. */
import { ageBands } from '../../catalog/events/promotion.ts';

export interface StreamFilter {
  readonly promotion?: ReadonlySet<string>;
  readonly product?: ReadonlySet<string>;
  readonly ageBand?: ReadonlySet<string>;
  /** Pseudonyms: an address line ends up in logs, so a user id has no place in it. */
  readonly user?: ReadonlySet<string>;
}

export interface Filterable {
  readonly user: string;
  readonly productId?: string | undefined;
  readonly ageBand?: string | undefined;
  /** Promotions it belongs to; a raw purchase belongs to none. */
  readonly promotionIds: readonly string[];
}

export interface FilterProblem {
  readonly field: string;
  readonly reason: string;
}

const maxValues = 100;

function values(raw: unknown): string[] | undefined {
  if (raw === undefined) return undefined;
  const list = (Array.isArray(raw) ? raw : [raw]).flatMap((value) => String(value).split(','));
  const trimmed = list.map((value) => value.trim().normalize('NFC')).filter((value) => value !== '');
  return trimmed.length === 0 ? undefined : trimmed;
}

/**
 * Reads `promotion`, `product`, `ageBand` and `user` of a query string; each may be repeated or a comma list.
 * Answers the problems instead when there are any; they never hold the value.
 */
export function parseFilter(
  query: Readonly<Record<string, unknown>>,
):
  | { readonly ok: true; readonly filter: StreamFilter }
  | { readonly ok: false; readonly problems: FilterProblem[] } {
  const problems: FilterProblem[] = [];
  const filter: { -readonly [K in keyof StreamFilter]: StreamFilter[K] } = {};
  for (const field of ['promotion', 'product', 'ageBand', 'user'] as const) {
    const list = values(query[field]);
    if (list === undefined) continue;
    if (list.length > maxValues || list.some((value) => value.length > 200)) {
      problems.push({ field, reason: `at most ${maxValues} values of at most 200 characters` });
    } else if (
      field === 'ageBand' &&
      !list.every((value) => (ageBands as readonly string[]).includes(value))
    ) {
      problems.push({ field, reason: `must be of ${ageBands.join(', ')}` });
    } else if (field === 'user' && !list.every((value) => /^u_[A-Za-z0-9_-]{22}$/.test(value))) {
      problems.push({
        field,
        reason:
          'must be a pseudonym (u_ and 22 characters) as in the field "user" of the answers, not a user id',
      });
    } else filter[field] = new Set(list);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, filter };
}

/** Whether an event passes. */
export function matches(filter: StreamFilter, event: Filterable): boolean {
  return (
    (filter.user === undefined || filter.user.has(event.user)) &&
    (filter.product === undefined ||
      (event.productId !== undefined && filter.product.has(event.productId))) &&
    (filter.ageBand === undefined || filter.ageBand.has(event.ageBand ?? 'unknown')) &&
    (filter.promotion === undefined || event.promotionIds.some((id) => filter.promotion!.has(id)))
  );
}
