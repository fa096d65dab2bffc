/** What recharges and remittances promise, with wrongs put in, on a real MySQL or MariaDB (MYSQL_*). */
import test from 'ava';
import { sql } from 'kysely';
import { promises } from '../../catalog/promises.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { openWorld, startPay, type World, won } from '../pay.fixture.ts';
import type { Check, CheckDeps } from '../platform/checks.ts';
import { remittanceChecks } from '../remittance/promises.ts';
import { remittanceStore } from '../remittance/store.ts';
import { moneyChecks } from './promises.ts';

let world: World;

test.before(async () => {
  world = await openWorld('recharge_promises');
});
test.after.always(() => world?.end());

function checksOf(): () => Promise<Record<string, readonly string[]>> {
  const deps = { database: async (name: 'money') => world.of(name) } as unknown as CheckDeps;
  const make = { ...moneyChecks, ...remittanceChecks };
  const checks = new Map<string, Check>();
  for (const promise of promises)
    if (promise.name.startsWith('rec') || promise.name.startsWith('rem'))
      checks.set(promise.name, make[promise.name as 'recharges-booked'](deps, promise));
  return async () => {
    const broken: Record<string, readonly string[]> = {};
    for (const [name, check] of checks) {
      const { ids } = await check();
      if (ids.length > 0) broken[name] = ids;
    }
    return broken;
  };
}

test.serial(
  'all hold for what was carried out; each breach is told by its id, and by no other promise',
  async (t) => {
    const pay = await startPay(t, world);
    const alice = await pay.member('alice', { depositMinor: 100_000 });
    const { json } = await alice.me('POST', '/money/recharges', {
      accountId: alice.accountId,
      amount: won(10_000),
    });
    const find = async () => (await alice.me('GET', `/money/recharges/${json.rechargeId}`)).json;
    pay.recharge();
    pay.sendToBanks();
    const { firmbankingId } = (await pay.until(find, { state: 'DONE' })) as { firmbankingId: string };
    const [money, banking, remittance] = [world.of('money'), world.of('banking'), world.of('remittance')];
    const id = bytesOfUuid(json.rechargeId);
    const longAgo = sql`UTC_TIMESTAMP(3) - INTERVAL 1 HOUR`;
    await sql`UPDATE recharge SET decided_at = ${longAgo}`.execute(money);
    await sql`UPDATE firmbanking SET decided_at = ${longAgo}`.execute(banking);
    t.deepEqual(await checksOf()(), {});

    // Taken, and not booked: also when it is found out later, until it is right.
    const look = checksOf();
    await sql`UPDATE recharge SET state = 'FAILED', transfer_id = NULL WHERE recharge_id = ${id}`.execute(
      money,
    );
    t.deepEqual(await look(), { 'recharges-booked': [firmbankingId] });
    t.deepEqual(await look(), { 'recharges-booked': [firmbankingId] });
    const transfer = sql`(SELECT transfer_id FROM ledger_transfer WHERE reason = 'recharge' LIMIT 1)`;
    await sql`UPDATE recharge SET state = 'DONE', transfer_id = ${transfer} WHERE recharge_id = ${id}`.execute(
      money,
    );
    t.deepEqual(await look(), {});
    // Booked, and not taken.
    await sql`UPDATE firmbanking SET state = 'REJECTED'`.execute(banking);
    t.deepEqual(await checksOf()(), { 'recharges-booked': [firmbankingId] });
    await sql`UPDATE firmbanking SET state = 'EXECUTED', amount_minor = 9999`.execute(banking);
    t.deepEqual(await checksOf()(), { 'recharges-booked': [firmbankingId] });
    await sql`UPDATE firmbanking SET amount_minor = 10000`.execute(banking);
    t.deepEqual(await checksOf()(), {});

    // Undecided beyond the limit; who waits for a bank that is down is excused, while somebody looks.
    const undecided = (reason: string | null, due: ReturnType<typeof sql>) =>
      sql`
      UPDATE recharge SET state = 'AT_BANK', transfer_id = NULL, counts_from = ${longAgo}, reason = ${reason}, due_at = ${due}
      WHERE recharge_id = ${id}`.execute(money);
    await undecided(null, sql`UTC_TIMESTAMP(3)`);
    await sql`UPDATE firmbanking SET state = 'IN_DOUBT'`.execute(banking).catch(() => undefined);
    const told = await checksOf()();
    t.deepEqual(told['recharges-decided'], [json.rechargeId]);
    await undecided('BANK_DOWN', sql`UTC_TIMESTAMP(3)`);
    t.is((await checksOf()())['recharges-decided'], undefined);
    await undecided('BANK_DOWN', longAgo);
    t.deepEqual((await checksOf()())['recharges-decided'], [json.rechargeId]);

    const remittances = remittanceStore({ database: async () => remittance });
    const wish = {
      sender: alice.account,
      to: { member: 'u_0' },
      amountMinor: 1,
      feeMinor: 0,
      currency: 'KRW',
    };
    const { remittanceId } = await remittances.accept(
      { ...wish, rechargeFrom: undefined },
      { scope: 'remittance:test', key: 'k', body: '' },
    );
    t.is((await checksOf()())['remittances-decided'], undefined);
    await sql`UPDATE remittance SET counts_from = ${longAgo}`.execute(remittance);
    t.deepEqual((await checksOf()())['remittances-decided'], [remittanceId]);
  },
);
