import test from 'ava';
import { type Client, type CouponOutcome, createHub } from './hub.ts';

const outcome = (requestId: string): CouponOutcome => ({ requestId, couponId: 'c', outcome: 'SUCCESS' });

function client(takes = true): Client & { readonly got: string[]; closed: boolean } {
  const got: string[] = [];
  return {
    got,
    closed: false,
    send(each) {
      if (takes) got.push(each.requestId);
      return takes;
    },
    close() {
      this.closed = true;
    },
  };
}

test('an outcome reaches every client of its user and nobody else', (t) => {
  const hub = createHub();
  const [first, second, other] = [client(), client(), client()];
  hub.join('u', first).begin([]);
  hub.join('u', second).begin([]);
  hub.join('v', other).begin([]);
  t.is(hub.push('u', outcome('1')), 2);
  t.is(hub.push('nobody', outcome('2')), 0);
  t.deepEqual([first.got, second.got, other.got], [['1'], ['1'], []]);
  t.is(hub.size, 3);
});

test('what comes while a client looks up what it missed follows that, and nothing is shown twice', (t) => {
  const hub = createHub();
  const one = client();
  const membership = hub.join('u', one);
  t.is(hub.push('u', outcome('2')), 0);
  t.is(hub.push('u', outcome('3')), 0);
  t.deepEqual(membership.begin([outcome('1'), outcome('2')]), ['1', '2', '3']);
  t.deepEqual(one.got, ['1', '2', '3']);
  t.is(hub.push('u', outcome('3')), 1, 'a result that comes twice counts as told');
  t.deepEqual(one.got, ['1', '2', '3']);
});

test('a client that takes nothing counts as not told', (t) => {
  const hub = createHub();
  hub.join('u', client(false)).begin([]);
  t.is(hub.push('u', outcome('1')), 0);
});

test('a client that has left gets nothing, and leaving twice is once', (t) => {
  const hub = createHub();
  const one = client();
  const membership = hub.join('u', one);
  membership.begin([]);
  membership.leave();
  membership.leave();
  t.is(hub.size, 0);
  t.false(hub.has('u'));
  t.is(hub.push('u', outcome('1')), 0);
});

test('all clients can be sent away', (t) => {
  const hub = createHub();
  const [first, second] = [client(), client()];
  hub.join('u', first);
  hub.join('v', second).begin([]);
  hub.closeAll();
  t.true(first.closed && second.closed);
});
