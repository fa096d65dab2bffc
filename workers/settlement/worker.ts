/** Worker `settlement`: what merchants were paid goes to their bank accounts, less our commission, in a database of its own. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import { daysOf } from '../base/days.ts';
import { counter, gauge } from '../base/metrics.ts';
import { consume } from '../kafka/consume.ts';
import { countOpen } from '../platform/due-work.ts';
import type { Worker } from '../platform/worker.ts';
import { messageOf } from '../store/queue-log.ts';
import { readMember, readPayment, readPayoutEnd } from './events.ts';
import { lineStore } from './lines.ts';
import { registerSettlementRoutes } from './routes.ts';
import { runStore } from './runs.ts';
import { callsOf } from './services.ts';
import { openStates } from './settlement.ts';
import { slipStore } from './slips.ts';
import { carryOut, counting } from './work.ts';

const config = Type.Object({
  PAYMENT_URL: urlOf('payment'),
  MONEY_URL: urlOf('money'),
  BANKING_URL: urlOf('banking'),
  SERVICE_TOKEN: serviceToken,
  TIME_ZONE: Type.String({
    timeZone: true,
    default: 'Asia/Seoul',
    description: 'IANA zone in which a day begins: then a period ends',
  }),
  COMMISSION_BASIS_POINTS: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 300,
    description: 'our commission of what merchants without a rate of their own are paid, 1/100 of a percent',
  }),
});

const timeoutMs = 5_000;
/** For the commit after a call. */
const commitMs = 20_000;

export const settlement: Worker<typeof config> = {
  name: 'settlement',
  database: 'settlement',
  consumes: [groups.settlementSlips, groups.settlementMembers, groups.settlementEnds],
  produces: [topics.paymentEventsDlq, topics.memberEventsDlq, topics.firmbankingEventsDlq],
  config,
  async start(deps) {
    const { config: settings, database, http, kafka, log, metrics: registry, secrets, fail } = deps;
    const { nextDayMs } = daysOf(settings.TIME_ZONE);
    const slips = slipStore({ database });
    const runs = runStore({ database, nextDayMs });
    const lines = lineStore({ database, nextDayMs });
    const count = counting(registry);
    const taken = counter(registry, metrics.settlement.slips);
    const work = carryOut({
      runs,
      lines,
      makeCall: callsOf({
        paymentUrl: settings.PAYMENT_URL,
        moneyUrl: settings.MONEY_URL,
        bankingUrl: settings.BANKING_URL,
        token: settings.SERVICE_TOKEN,
        timeoutMs,
        registry,
        stateOf: slips.stateOf,
      }),
      leaseMs: timeoutMs + commitMs,
      log,
      registry,
    });
    const common = { log, onFatal: fail };
    const consumers = await Promise.all([
      consume(kafka, {
        ...common,
        group: groups.settlementSlips,
        parse: readPayment,
        // No slip comes before there is a rate for it.
        async startAt() {
          await slips.setDefaultRate(settings.COMMISSION_BASIS_POINTS);
          return [];
        },
        async apply(records) {
          await slips.take(records.map(({ data }) => data));
          for (const { data } of records) taken.inc({ kind: data.kind });
          return undefined;
        },
      }),
      consume(kafka, {
        ...common,
        group: groups.settlementMembers,
        parse: readMember,
        async apply(records) {
          await slips.follow(records.map(({ data }) => data));
          return undefined;
        },
      }),
      consume(kafka, {
        ...common,
        group: groups.settlementEnds,
        parse: readPayoutEnd,
        // A transaction each.
        atOnce: 100,
        async apply(records) {
          for (const { data, record } of records) count(await lines.told(data, messageOf(record)));
          work.wake();
          return undefined;
        },
      }),
    ]);
    registerSettlementRoutes(http, {
      slips,
      runs,
      lines,
      pseudonymKey: secrets.pseudonymKey,
      onAccepted: work.wake,
    });
    const open = countOpen({
      what: 'settlements',
      open: lines.open,
      states: [...openStates, 'STOPPED'],
      gauge: gauge(registry, metrics.settlement.open),
      log,
    });
    return {
      ready: () => consumers.every((consumer) => consumer.ready()),
      waitingFor: () => 'its partitions',
      async stop() {
        open.stop();
        await Promise.all([work.stop(), ...consumers.map((consumer) => consumer.stop())]);
      },
    };
  },
};
