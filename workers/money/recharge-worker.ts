/** Worker `money-recharges`: brings money from members' bank accounts. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import { counter, gauge } from '../base/metrics.ts';
import { leaseFor, startSagas } from '../platform/saga-work.ts';
import type { Worker } from '../platform/worker.ts';
import { readFirmbankingDecided } from './events.ts';
import { askBanking, type Firmbankings, wordOf } from './firmbankings.ts';
import { houseAccounts } from './house.ts';
import { openRecharges, type Recharge } from './recharge.ts';
import { rechargeStore } from './recharges.ts';

const config = Type.Object({ BANKING_URL: urlOf('banking'), SERVICE_TOKEN: serviceToken });
const timeoutMs = 5_000;

/** The call that the state of a recharge stands for. */
export const callFor =
  ({ ask, find }: Firmbankings) =>
  (one: Recharge) =>
    one.state === 'AT_BANK' ? find(one) : ask(one);

/** What is told of a firm banking, perhaps one of a recharge. Throws MUSTER_EVENT_INVALID. */
export function readEnd(record: Parameters<typeof readFirmbankingDecided>[0]) {
  const told = readFirmbankingDecided(record);
  return { id: told.firmbankingId, word: wordOf(told) };
}

export const moneyRecharges: Worker<typeof config> = {
  name: 'money-recharges',
  database: 'money',
  consumes: [groups.moneyRecharges],
  produces: [topics.rechargeEvents, topics.firmbankingEventsDlq],
  config,
  async start({ config: settings, database, relayOutbox, metrics: registry, ...deps }) {
    await relayOutbox();
    const work = await startSagas(
      {
        what: 'recharges',
        sagas: rechargeStore({ database, houseAccount: houseAccounts() }),
        states: openRecharges,
        makeCall: callFor(
          askBanking({ baseUrl: settings.BANKING_URL, token: settings.SERVICE_TOKEN, timeoutMs, registry }),
        ),
        leaseMs: leaseFor(timeoutMs),
        group: groups.moneyRecharges,
        parse: readEnd,
        ended: counter(registry, metrics.money.recharges),
        open: gauge(registry, metrics.money.openRecharges),
      },
      deps,
    );
    return { ...work, waitingFor: () => 'its partitions' };
  },
};
