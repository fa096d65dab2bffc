/**
 * Bugs that the live checker must catch, each as edits of the text of a worker that runs in the place of a deployed one.
 * Where a bug only shows when something fails, the failure is part of the edit.
 */
import { MusterError } from '../../workers/base/errors.ts';
import type { FindingKind } from '../checker/verdict.ts';
import type { Edit } from '../edits.ts';
import type { Loads } from '../loads/index.ts';

export interface SeededBug {
  readonly name: string;
  /** What is wrong. */
  readonly about: string;
  readonly edits: readonly Edit[];
  /** The deployed process in whose place it runs. */
  readonly process: 'api' | 'promotion' | 'commerce' | 'pay' | 'delivery';
  readonly replicas?: number;
  readonly loads: Loads;
  /** When its processes are killed, from the begin of the load; they are started again at once. */
  readonly killedAtMs?: readonly number[];
  /** One of these findings has to be there; none at all must be when it is empty. */
  readonly caughtAs: readonly FindingKind[];
  /**
   * The scenario of the simulation that must catch it, too: by the same edits, or, where what they change is simulated
   * itself, by the bug of its own that does the same. Unset: none has that part.
   */
  readonly simulated?: { readonly scenario: string; readonly bug?: string };
}

/** The second kill meets a worker that works again, also when its group had to wait for the end of a session. */
const twice = [5_000, 20_000];
const promotion = { process: 'promotion', loads: { promotion: { rate: 100 } } } as const;
const coupons = { process: 'commerce', loads: { coupons: { rate: 100, stock: 200 } } } as const;
const ranking = { process: 'commerce', loads: { orders: { rate: 40 } } } as const;
const orders = { process: 'api', loads: { orders: { rate: 40 } } } as const;

const pay = { process: 'pay', loads: { pay: { rate: 5 } } } as const;
const delivery = { process: 'delivery', loads: { delivery: { rate: 5 } } } as const;

const join = 'workers/promotion/join.ts';
const joinState = 'workers/promotion/join-state.ts';
const joinAnswers = 'workers/promotion/join-answers.ts';
const joinWorker = 'workers/promotion/join-worker.ts';
const couponStore = 'workers/coupon/store.ts';
const couponHandler = 'workers/coupon/issue-consumer.ts';
const relay = 'workers/store/relay.ts';

/** The result of a transaction is given out before its commit, and one commit in five fails. */
const givenOutBeforeCommit: readonly Edit[] = [
  {
    file: 'workers/store/database.ts',
    find: 'const result = await db.transaction().execute(async (trx) => {',
    put: `const result = await new Promise((resolve, reject) => {
        db.transaction().execute(async (trx) => {`,
  },
  {
    file: 'workers/store/database.ts',
    find: `return work(trx);
      });`,
    put: `resolve(await work(trx));
          await new Promise((later) => setTimeout(later, 50));
          if (Math.random() < 0.2) throw new Error('the commit fails');
        }).catch(reject);
      });`,
  },
];

/** The same load and kills without any bug: the checker must find nothing. */
export const controls: readonly SeededBug[] = [
  {
    ...promotion,
    loads: { promotion: { rate: 100, poisonShare: 0.02 } },
    name: 'none-promotion',
    about: 'no bug: the join is killed once',
    edits: [],
    killedAtMs: [5_000],
    caughtAs: [],
  },
  {
    ...coupons,
    name: 'none-coupons',
    about: 'no bug: the decider of coupons is killed twice',
    edits: [],
    killedAtMs: twice,
    caughtAs: [],
  },
  {
    ...ranking,
    name: 'none-ranking',
    about: 'no bug: the ranking is killed twice',
    edits: [],
    killedAtMs: twice,
    caughtAs: [],
  },
  {
    ...orders,
    name: 'none-orders',
    about: 'no bug: the API is killed twice',
    edits: [],
    killedAtMs: twice,
    caughtAs: [],
  },
  {
    ...pay,
    name: 'none-pay',
    about: 'no bug: my-pay is killed once, and its banks misbehave',
    edits: [],
    killedAtMs: [5_000],
    caughtAs: [],
  },
  {
    ...delivery,
    name: 'none-delivery',
    about: 'no bug: food delivery is killed twice',
    edits: [],
    killedAtMs: twice,
    caughtAs: [],
  },
];

export const bugs: readonly SeededBug[] = [
  // --- my-pay
  {
    ...pay,
    name: 'no-answer-taken-for-no',
    about: 'a bank that has not answered is taken to have refused',
    edits: [
      {
        file: 'workers/banking/banks.ts',
        find: "if (outcome !== '2xx' && outcome !== '4xx') return { kind: 'UNCLEAR' };",
        put: "if (outcome !== '2xx' && outcome !== '4xx') return { kind: 'REJECTED', reason: 'NO_ANSWER' };",
      },
    ],
    caughtAs: ['ledger'],
  },
  {
    ...pay,
    name: 'fee-left-held',
    about: 'a remittance to a bank account ends before its fee is booked',
    edits: [
      {
        file: 'workers/platform/move.ts',
        find: "return to(now, now.feeHoldId === undefined ? 'DONE' : 'POST_FEE', { transferId: id });",
        put: "return to(now, 'DONE', { transferId: id });",
      },
    ],
    caughtAs: ['lost', 'wrong'],
  },
  {
    ...pay,
    name: 'rejected-taken-for-paid',
    about: 'what a bank has not paid out is booked as if it had',
    edits: [
      {
        file: 'workers/platform/move.ts',
        find: "if (!done) return fail(now, prefixed(of, reason ?? 'FAILED'));",
        put: "if (!done && of === 'RECHARGING') return fail(now, prefixed(of, reason ?? 'FAILED'));",
      },
    ],
    caughtAs: ['ledger'],
    simulated: { scenario: 'pay' },
  },
  {
    ...pay,
    name: 'remittance-forgotten',
    about: 'one remittance in ten is accepted and not written down',
    edits: [
      {
        file: 'workers/remittance/store.ts',
        find: 'const { answer, claimed } = await accept(wish, call);',
        put: 'if (Math.random() < 0.1) return { remittanceId: crypto.randomUUID(), claimed: undefined };\n      const { answer, claimed } = await accept(wish, call);',
      },
    ],
    caughtAs: ['lost'],
  },
  {
    ...pay,
    name: 'refunds-not-counted',
    about: 'a payment does not know what has been refunded of it',
    edits: [
      {
        file: 'workers/payment/slips.ts',
        find: 'if (sums.size > 0) await rows.addRefunded(sums);',
        put: '',
      },
    ],
    caughtAs: ['wrong', 'ledger'],
  },
  // --- food delivery
  {
    ...delivery,
    name: 'delivered-before-its-time',
    about: 'the clock delivers as soon as somebody has the order',
    edits: [
      {
        file: 'workers/delivery/machine.ts',
        find: 'const deliveryMs = 1_000;',
        put: 'const deliveryMs = 0;',
      },
    ],
    caughtAs: ['wrong'],
  },
  {
    ...delivery,
    name: 'rider-left-busy',
    about: 'one rider in five is not free again after a delivery',
    edits: [
      {
        file: 'workers/delivery/steps.ts',
        find: '({ row }) => row.rider !== undefined)',
        put: "({ row }) => row.rider === 'takes' || (row.rider === 'frees' && Math.random() > 0.2))",
      },
    ],
    caughtAs: ['lost'],
  },
  {
    ...delivery,
    name: 'notification-forgotten',
    about: 'of one change in ten nobody is told',
    edits: [
      {
        file: 'workers/delivery/notifications.ts',
        find: '({ tells }) => tells.length > 0)',
        put: '({ tells }) => tells.length > 0 && Math.random() >= 0.1)',
      },
    ],
    caughtAs: ['untold'],
  },
  {
    ...delivery,
    name: 'dish-kept-by-nobody',
    about: 'what is called off does not go back on the menu',
    edits: [
      {
        file: 'workers/delivery/steps.ts',
        find: '({ row }) => row.givesBack)',
        put: '() => false)',
      },
    ],
    caughtAs: ['ledger'],
  },
  {
    ...delivery,
    name: 'cancelled-while-cooked',
    about: 'a customer may cancel what is being cooked',
    edits: [
      {
        file: 'workers/delivery/machine.ts',
        find: 'export const rows: readonly Row[] = [\n',
        put: "export const rows: readonly Row[] = [\n  { step: 'cancel', from: 'COOKING', to: 'CANCELLED', by: ['customer'], givesBack: true, tells: ['customer', 'owner'] },\n",
      },
    ],
    caughtAs: ['wrong'],
  },
  // --- promotion
  {
    ...promotion,
    name: 'commits-before-the-work',
    about: 'offsets are committed as records are read, not when their answers are acked',
    edits: [
      {
        file: 'workers/promotion/join-runs.ts',
        find: 'while (done < queue.length && queue[done]!.open === 0) done += 1;',
        put: 'done = queue.length;',
      },
    ],
    killedAtMs: [5_000],
    caughtAs: ['committed-beyond', 'lost'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'no-co-partitioning',
    about: 'two joins share each topic in another way: one has the purchases of a user, the other the acts',
    edits: [
      {
        file: 'workers/kafka/assigner.ts',
        find: 'partitions.filter((partition) => mine.has(partition))',
        put: 'partitions.filter((partition) => mine.has((partition + [...partitionsOf.keys()].indexOf(topic)) % slots))',
      },
    ],
    replicas: 2,
    caughtAs: ['wrong', 'lost'],
    simulated: { scenario: 'promotion', bug: 'noCoPartitioning' },
  },
  {
    ...promotion,
    name: 'window-end-excluded',
    about: 'an act of exactly five minutes before does not count',
    edits: [{ file: joinState, find: 'purchasedMs - windowMs,', put: 'purchasedMs - windowMs + 1,' }],
    caughtAs: ['wrong'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'late-acts-ignored',
    about: 'an act that comes after the answer to its purchase brings no correction',
    edits: [
      {
        file: join,
        find: '          reconsider(purchase, run);',
        put: 'if (purchase.heldBy !== undefined) reconsider(purchase, run);',
      },
    ],
    caughtAs: ['wrong'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'corrections-without-version',
    about: 'a correction has version 1, whatever was said before',
    edits: [
      {
        file: join,
        find: 'else if (count + 1 > purchase.version) answer(purchase, count + 1, touches, run);',
        put: 'else if (count + 1 > purchase.version) answer(purchase, 1, touches, run);',
      },
    ],
    caughtAs: ['order', 'wrong'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'state-not-read-back',
    about: 'a join that starts again knows no acts of before',
    edits: [
      {
        file: 'workers/promotion/join-restore.ts',
        find: 'records += await restoreSource(task, one, Math.min(first, task.start[one]), deps);',
        put: '',
      },
    ],
    killedAtMs: [5_000],
    caughtAs: ['wrong'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'failed-send-told-as-success',
    about: 'one send in ten fails, and nobody looks',
    edits: [
      {
        file: joinAnswers,
        find: 'await producer.send(records, { deadlineMs: 30_000 });',
        put: "if (Math.random() < 0.1) throw new Error('the send fails'); await producer.send(records, { deadlineMs: 30_000 });",
      },
      { file: joinAnswers, find: 'if (task.dead || stopping) return false;', put: 'return true;' },
    ],
    caughtAs: ['lost', 'committed-beyond'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    loads: { promotion: { rate: 100, poisonShare: 0.05 } },
    name: 'not-understood-dropped',
    about: 'what cannot be understood gets no dead letter',
    edits: [{ file: joinWorker, find: 'sent.push(refused(record, result.rejection));', put: '' }],
    caughtAs: ['lost'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'foreign-keys-not-moved',
    about: 'records that a foreign producer put on another partition than their user’s stay there',
    edits: [
      {
        file: joinWorker,
        find: 'if (!staysAt(task.partition, record, home)) {',
        put: 'if (home.partition < 0) {',
      },
    ],
    caughtAs: ['wrong'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'affected-not-republished',
    about: 'affected purchases are not told on topic promotion',
    edits: [
      {
        file: 'workers/promotion/enriched.ts',
        find: 'return touches.length === 0\n    ? [enriched]',
        put: 'return true ? [enriched]',
      },
    ],
    caughtAs: ['untold'],
    simulated: { scenario: 'promotion' },
  },
  {
    ...promotion,
    name: 'user-id-in-clear',
    about: 'answers name the user and not the pseudonym',
    edits: [
      {
        file: joinAnswers,
        find: 'pseudonym(pseudonymKey, purchase.userId)',
        put: 'purchase.userId',
      },
    ],
    caughtAs: ['personal-data'],
    simulated: { scenario: 'promotion' },
  },

  // --- coupons
  {
    ...coupons,
    loads: { coupons: { rate: 100, stock: 10_000 } },
    name: 'decided-again',
    about: 'a request that comes again is decided again: nobody looks whether it was',
    edits: [
      {
        file: 'workers/coupon/requests.ts',
        find: 'distinct.filter(isPending)',
        put: 'distinct',
      },
    ],
    killedAtMs: twice,
    caughtAs: ['ledger', 'doubled'],
    simulated: { scenario: 'coupons' },
  },
  {
    ...coupons,
    name: 'lock-only',
    about: 'that a person gets one coupon rests on the lock in Redis alone',
    edits: [
      {
        file: 'workers/coupon/issue.ts',
        find: "if (holders.has(holder) || heldNow.has(holder)) return failed('DUPLICATE');",
        put: '',
      },
      {
        file: couponStore,
        find: 'INSERT INTO coupon_history (coupon_history_id,',
        put: 'INSERT IGNORE INTO coupon_history (coupon_history_id,',
      },
    ],
    caughtAs: ['doubled', 'ledger'],
    simulated: { scenario: 'coupons' },
  },
  {
    ...coupons,
    name: 'stock-without-limit',
    about: 'nobody looks at the stock',
    edits: [
      {
        file: 'workers/coupon/issue.ts',
        find: "if (issued >= coupon.stock) return failed('OUT_OF_STOCK');",
        put: '',
      },
      {
        file: couponStore,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a template
        find: ' AND issued + ${count} <= stock`',
        put: '`',
      },
    ],
    caughtAs: ['over-issued'],
    simulated: { scenario: 'coupons' },
  },
  {
    ...coupons,
    name: 'coupon-told-before-commit',
    about: 'outcomes are told before the decision is committed',
    edits: givenOutBeforeCommit,
    caughtAs: ['lost', 'untold', 'ledger'],
    simulated: { scenario: 'coupons', bug: 'answersBeforeCommit' },
  },
  {
    ...coupons,
    name: 'request-set-aside',
    about: 'one request in ten is put off for three seconds, and its offset is committed',
    edits: [
      {
        file: couponHandler,
        find: 'apply: decideAndTell,',
        put: `apply(records) {
          const putOff = records.filter(() => Math.random() < 0.1);
          if (putOff.length > 0) setTimeout(() => void decideAndTell(putOff).catch(() => undefined), 3_000);
          return decideAndTell(records.filter((record) => !putOff.includes(record)));
        },`,
      },
    ],
    caughtAs: ['committed-beyond', 'order'],
    simulated: { scenario: 'coupons' },
  },
  {
    ...coupons,
    name: 'result-names-user',
    about: 'results name the user and not the pseudonym',
    edits: [
      {
        file: 'workers/coupon/events.ts',
        find: 'user: pseudonym(pseudonymKey, userId),',
        put: 'user: userId,',
      },
    ],
    caughtAs: ['personal-data'],
    simulated: { scenario: 'coupons' },
  },

  // --- orders
  {
    ...ranking,
    name: 'ranking-counts-twice',
    about: 'the ranking counts what is delivered again',
    edits: [
      {
        file: 'workers/order/ranking-consumer.ts',
        find: 'const ahead = records.filter(({ record }) => record.offset >= (expected ?? 0));',
        put: 'const ahead = records;',
      },
      {
        file: 'workers/order/ranking-consumer.ts',
        find: 'if (expected !== undefined && next <= expected) return true;',
        put: '',
      },
      {
        file: 'workers/order/ranking.ts',
        find: "if redis.call('ZADD', KEYS[3], 'NX', ARGV[i], ARGV[i + 1]) == 1 then",
        put: 'if true then',
      },
    ],
    killedAtMs: twice,
    caughtAs: ['wrong'],
    simulated: { scenario: 'orders', bug: 'rankingOrdersForgotten' },
  },
  {
    ...orders,
    name: 'stock-down-by-one',
    about: 'a sale takes one from the stock, whatever the quantity',
    edits: [
      {
        file: 'workers/order/order.ts',
        find: 'const stock = left.get(productId)! - quantity;',
        put: 'const stock = left.get(productId)! - 1;',
      },
    ],
    caughtAs: ['ledger'],
    simulated: { scenario: 'orders' },
  },
  {
    ...orders,
    name: 'paid-told-before-commit',
    about: 'a payment is answered before it is committed',
    edits: givenOutBeforeCommit,
    caughtAs: ['lost', 'untold'],
    simulated: { scenario: 'orders', bug: 'answersBeforeCommit' },
  },
  {
    ...orders,
    name: 'outbox-row-forgotten',
    about: 'one row of the outbox in twenty is deleted and was not sent',
    edits: [
      {
        file: relay,
        find: 'return send(producer, records, resting',
        put: 'return send(producer, records.filter(() => Math.random() >= 0.05), resting',
      },
    ],
    caughtAs: ['untold'],
    simulated: { scenario: 'orders' },
  },
  {
    ...orders,
    name: 'events-overtake',
    about: 'one row of the outbox in ten is sent three seconds later than those after it',
    edits: [
      {
        file: relay,
        find: 'const { rows: heads, more } = await rows.heads(held, rowsPerShard);',
        put: `const seen = (globalThis.seenRows ??= new Map());
      const { rows: all, more } = await rows.heads(held, rowsPerShard);
      for (const { id } of all) if (!seen.has(id)) seen.set(id, Date.now());
      const heads = all.filter(({ id }) => Number(id) % 10 > 0 || Date.now() - seen.get(id) > 3_000);`,
      },
    ],
    caughtAs: ['order'],
  },
  {
    ...orders,
    name: 'product-version-skipped',
    about: 'events of products leave versions out',
    edits: [
      {
        file: 'workers/order/store.ts',
        find: 'productRecord({ ...product, kind, version: before.version + 1 + index }, nowMs),',
        put: 'productRecord({ ...product, kind, version: before.version + 2 + index }, nowMs),',
      },
    ],
    caughtAs: ['order'],
  },
];

/** The bug, or control, of this name. Throws MUSTER_USAGE with the known names. */
export function bugNamed(name: string): SeededBug {
  const all = [...controls, ...bugs];
  const found = all.find((bug) => bug.name === name);
  if (found === undefined)
    throw new MusterError(
      'MUSTER_USAGE',
      `No seeded bug "${name}"; there are: ${all.map((bug) => bug.name).join(', ')}.`,
    );
  return found;
}
