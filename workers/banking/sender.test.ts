import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { silentLog } from '../base/log.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { Firmbanking, Said } from './firmbanking.ts';
import type { Claimed } from './requests.ts';
import { startSender } from './sender.ts';

const executed: Said = { word: { kind: 'EXECUTED' }, outcome: '2xx' };

test('a call that a bank leaves hanging takes one place: the others at that bank go on', async (t) => {
  const due = Array.from({ length: 40 }, (_, n) => `${n}`);
  const done: string[] = [];
  const hanging = Promise.withResolvers<Said>();
  let most = 0;
  let underWay = 0;
  const sender = startSender({
    requests: {
      banksWithDue: async () => (due.length > 0 ? ['hana'] : []),
      claim: async (_, asked) => {
        const ids = due.splice(0, asked.most);
        const claimed = ids.map((firmbankingId): Claimed => {
          const one = { firmbankingId, bank: 'hana' } as Firmbanking;
          return { call: 'SEND', one, before: one, traceparent: undefined };
        });
        return { claimed, more: due.length > 0 };
      },
      finish: async ({ one }) => {
        done.push(one.firmbankingId);
        return 'EXECUTED';
      },
      undecided: async () => [],
    },
    banks: {
      mayCall: () => true,
      ask: async () => executed,
      async send({ firmbankingId }) {
        underWay += 1;
        most = Math.max(most, underWay);
        const said = await (firmbankingId === '3' ? hanging.promise : turn(executed));
        underWay -= 1;
        return said;
      },
    },
    registry: emptyRegistry(),
    log: silentLog(),
    leaseMs: 1_000,
    everyMs: 1,
  });
  while (done.length < 39) await turn();
  t.false(done.includes('3'));
  t.true(most <= 8, `${most} at once`);
  // What is accepted meanwhile does not wait for it either.
  due.push('later');
  while (!done.includes('later')) await turn();
  hanging.resolve(executed);
  await sender.stop();
  t.true(done.includes('3'), 'it is waited for at the end');
});
