import test from 'ava';
import { matches, parseFilter } from './filter.ts';

const event = { user: 'u_aaaaaaaaaaaaaaaaaaaaaa', productId: 'p1', ageBand: '30s', promotionIds: ['x', 'y'] };

function passes(query: Record<string, unknown>): boolean {
  const parsed = parseFilter(query);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return matches(parsed.filter, event);
}

test('without filters everything passes, also with blank ones', (t) => {
  t.true(passes({}));
  t.true(passes({ promotion: '', product: ' , ' }));
});

test('values of one filter are alternatives, different filters must all hold', (t) => {
  t.true(passes({ promotion: 'z,y' }));
  t.true(passes({ promotion: ['z', 'x'], product: 'p1', ageBand: '20s,30s', user: event.user }));
  t.false(passes({ promotion: 'z' }));
  t.false(passes({ promotion: 'x', product: 'p2' }));
  t.false(passes({ ageBand: '40s' }));
  t.false(passes({ user: 'u_bbbbbbbbbbbbbbbbbbbbbb' }));
});

test('an event without age band is of the band unknown', (t) => {
  const parsed = parseFilter({ ageBand: 'unknown' });
  t.true(parsed.ok && matches(parsed.filter, { user: 'u', promotionIds: [] }));
});

test('what cannot be a value is refused without repeating it', (t) => {
  const parsed = parseFilter({ ageBand: '35', user: 'user-000123', product: 'x'.repeat(201) });
  t.false(parsed.ok);
  if (parsed.ok) return;
  t.deepEqual(
    parsed.problems.map(({ field }) => field),
    ['product', 'ageBand', 'user'],
  );
  t.false(JSON.stringify(parsed.problems).includes('user-000123'));
});
