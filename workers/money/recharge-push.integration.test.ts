/** How recharges, remittances and payments ended, live to their members, on a real MySQL or MariaDB (MYSQL_*). */
import test, { type ExecutionContext } from 'ava';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { createMailboxes } from '../http/mailbox.ts';
import { userOf } from '../http/principals.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { eventsOf, openWorld, pseudonymKey, startPay, type World, won } from '../pay.fixture.ts';
import { paymentOutcomes } from '../payment/push.ts';
import { paymentStore } from '../payment/store.ts';
import type { OutcomeOptions } from '../platform/outcomes.ts';
import { remittanceOutcomes } from '../remittance/push.ts';
import { remittanceStore } from '../remittance/store.ts';
import { callersOf } from './callers.ts';
import { rechargeOutcomes } from './recharge-push.ts';

let world: World;

test.before(async () => {
  world = await openWorld('recharge_push');
});
test.after.always(() => world?.end());

async function setUp(t: ExecutionContext) {
  const pay = await startPay(t, world);
  const mailboxes = createMailboxes();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  const database = async () => pay.db;
  const remittances = remittanceStore({ database: async () => world.of('remittance') });
  const payments = paymentStore({ database: async () => world.of('payment') });
  const { actingFor } = callersOf({ database, pseudonymKey });
  const common = { mailboxes, maxClients: 10 };
  const addressOf: OutcomeOptions<unknown>['addressOf'] = async (request, named) =>
    pseudonym(pseudonymKey, userOf(request, named, 'memberId'));
  rechargeOutcomes.register(http.app as never, {
    ...{ ...common, database, findAll: pay.recharges.findAll },
    addressOf: (request, named) => actingFor(request, named, 'memberId'),
  });
  remittanceOutcomes.register(http.app as never, {
    ...{ ...common, addressOf, database: async () => world.of('remittance') },
    findAll: remittances.findAll,
  });
  paymentOutcomes.register(http.app as never, {
    ...{ ...common, addressOf, database: async () => world.of('payment') },
    findAll: payments.findAll,
  });
  await http.open();
  t.teardown(() => http.close(100));
  const { port } = http.address();

  /** A client on an event stream: what it has been told so far. */
  async function listen(path: string, token: string, lastEventId?: string) {
    const ending = new AbortController();
    const answer = await fetch(`http://127.0.0.1:${port}/pay${path}`, {
      headers: {
        authorization: `Bearer ${token}`,
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      },
      signal: ending.signal,
    });
    t.teardown(() => ending.abort());
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    return {
      status: answer.status,
      end: () => ending.abort(),
      /** All of it, once it holds this. */
      async until(wanted: string): Promise<string> {
        while (!text.includes(wanted)) {
          const { value, done } = await reader.read();
          if (done) throw new Error(`ended before ${wanted}: ${text}`);
          text += value;
        }
        return text;
      },
    };
  }
  return { ...pay, mailboxes, remittances, payments, listen, ask: pay.asker(port) };
}

test.serial(
  'the end of a recharge is pushed to its member, and told again until a client acknowledges it',
  async (t) => {
    const pay = await setUp(t);
    const alice = await pay.member('alice', { depositMinor: 100_000 });
    const token = await tokenOf('customer', alice.memberId);
    const [first, bobs] = [
      await pay.listen('/money/recharges/events', token),
      await pay.listen('/money/recharges/events', await tokenOf('customer', 'bob')),
    ];
    await Promise.all([first.until('ready'), bobs.until('ready')]);
    const { rechargeId } = (
      await alice.me('POST', '/money/recharges', { accountId: alice.accountId, amount: won(10_000) })
    ).json;
    const find = async () => (await alice.me('GET', `/money/recharges/${rechargeId}`)).json;
    pay.recharge();
    pay.sendToBanks();
    await pay.until(find, { state: 'DONE' });
    // As the pusher does with what it reads from the topic.
    for (const record of await eventsOf(world, 'money', 'recharge-events')) {
      const { address, letter } = rechargeOutcomes.readLetter(record);
      pay.mailboxes.push(address, letter);
      pay.mailboxes.push(address, letter);
    }
    const told = await first.until(rechargeId);
    t.true(told.includes('event: recharge-outcome'));
    t.regex(told, /"state":"DONE"/);
    t.notRegex(told, /alice|example/);
    first.end();

    const again = await pay.listen('/money/recharges/events', token);
    t.regex(await again.until(rechargeId), /recharge-outcome/, 'not acknowledged: told again');
    again.end();
    const acks = '/money/recharges/events/acks';
    const bob = pay.ask(await tokenOf('customer', 'bob'));
    const post = async (as: typeof bob, body: object) => fetchStatus(() => as('POST', acks, body));
    await post(bob, { ids: [rechargeId] });
    const still = await pay.listen('/money/recharges/events', token);
    await still.until(rechargeId);
    still.end();
    await post(pay.ask(operatorToken), { memberId: alice.memberId, ids: [rechargeId] });
    const after = await pay.listen('/money/recharges/events', token);
    t.false((await after.until('ready')).includes(rechargeId));
    t.is(bobs.status, 200);
  },
);

/** A 204 has no body to be read. */
async function fetchStatus(call: () => Promise<unknown>): Promise<void> {
  await call().catch((error: unknown) => {
    if (!(error instanceof SyntaxError)) throw error;
  });
}

test.serial('a failed remittance is told with its reason to a sender who comes back', async (t) => {
  const pay = await setUp(t);
  const wish = { amountMinor: 1, feeMinor: 0, currency: 'KRW', rechargeFrom: undefined };
  const carol = await pay.member('carol');
  const { remittanceId } = await pay.remittances.accept(
    { ...wish, sender: carol.account, to: { member: `u_${'a'.repeat(22)}` } },
    { scope: 'remittance:test', key: 'carol', body: '' },
  );
  const token = await tokenOf('customer', carol.memberId);
  const early = await pay.listen('/remittances/events', token);
  t.false((await early.until('ready')).includes(remittanceId), 'it has not ended');
  for (const claimed of await pay.remittances.claim(10, 1_000))
    await pay.remittances.finish(claimed, { kind: 'REFUSED', reason: 'ACCOUNT_UNKNOWN' });
  const [record] = await eventsOf(world, 'remittance', 'remittance-events');
  const { address, letter } = remittanceOutcomes.readLetter(record!);
  pay.mailboxes.push(address, letter);
  const told = await early.until(remittanceId);
  t.regex(told, /"state":"FAILED","reason":"ACCOUNT_UNKNOWN"/);
  early.end();
  // Coming back with the id of what was seen acknowledges it.
  const [, id] =
    /id: (\S+)\nevent: remittance-outcome/.exec(told) ?? /remittance-outcome[\s\S]*?id: (\S+)/.exec(told)!;
  const back = await pay.listen('/remittances/events', token, id);
  t.false((await back.until('ready')).includes(remittanceId));
  back.end();
  const merchant = await pay.listen('/remittances/events', await tokenOf('merchant', carol.memberId));
  t.is(merchant.status, 403);
});

test.serial(
  'how a payment and its refund ended is told to the customer, live and to one who comes back',
  async (t) => {
    const pay = await setUp(t);
    const dave = await pay.member('dave');
    const merchant = `u_${'m'.repeat(22)}`;
    const known = {
      member: merchant,
      type: 'MERCHANT',
      district: 'Jung-gu',
      state: 'ACTIVE',
      version: 1,
    } as const;
    await pay.payments.follow([{ ...known, changedAt: new Date().toISOString() }]);
    const once = (key: string) => ({ scope: 'payment:test', key, body: '' });
    const carryOn = async (word: Parameters<typeof pay.payments.finish>[1]) => {
      for (const claimed of await pay.payments.claim(10, 1_000)) await pay.payments.finish(claimed, word);
    };
    const token = await tokenOf('customer', dave.memberId);
    const [live, shop] = [
      await pay.listen('/payments/events', token),
      await pay.listen('/payments/events', await tokenOf('customer', 'somebody')),
    ];
    await Promise.all([live.until('ready'), shop.until('ready')]);
    const wish = { customer: dave.account, merchant, ...won(500), rechargeFrom: undefined };
    const paid = await pay.payments.accept(wish, once('paid'));
    const short = await pay.payments.accept(wish, once('short'));
    t.true(paid.ok && short.ok);
    const [paymentId, shortId] = [paid, short].map((each) => (each.ok ? each.paymentId : ''));
    const [first, second] = await pay.payments.claim(10, 1_000);
    const isFirst = first!.one.id === paymentId;
    await pay.payments.finish(isFirst ? first! : second!, {
      kind: 'OK',
      id: '01a22284-818f-7098-8c5c-8a5294ad9a08',
    });
    await pay.payments.finish(isFirst ? second! : first!, { kind: 'REFUSED', reason: 'MONEY_SHORT' });
    const refund = await pay.payments.refund(
      { paymentId: paymentId!, merchant, amount: won(200) },
      once('refund'),
    );
    const refundId = refund.ok ? refund.refundId : '';
    await carryOn({ kind: 'OK', id: '01a22284-818f-7098-8c5c-8a5294ad9a09' });
    for (const record of await eventsOf(world, 'payment', 'payment-outcomes')) {
      const { address, letter } = paymentOutcomes.readLetter(record);
      pay.mailboxes.push(address, letter);
    }
    const told = await live.until(refundId);
    t.regex(told, new RegExp(`"paymentId":"${paymentId}","state":"DONE"`));
    t.regex(told, new RegExp(`"paymentId":"${shortId}","state":"FAILED","reason":"MONEY_SHORT"`));
    t.regex(told, new RegExp(`"paymentId":"${paymentId}","refundId":"${refundId}","state":"DONE"`));
    live.end();
    const again = await pay.listen('/payments/events', token);
    t.regex(await again.until(refundId), /payment-outcome/, 'not acknowledged: told again, from the rows');
    again.end();
    const acks = { ids: [paymentId, shortId, refundId] };
    await fetchStatus(() => pay.ask(token)('POST', '/payments/events/acks', acks));
    const after = await pay.listen('/payments/events', token);
    t.false((await after.until('ready')).includes('payment-outcome'));
  },
);
