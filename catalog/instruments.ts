/** The metrics that our processes count and measure: kind, what they say, their labels, by their name. */
import { couponReasons, orderBys } from './events/coupon.ts';
import { logDropReasons } from './logs.ts';
import { durationBuckets, metrics, promotionLatencyBuckets } from './metrics.ts';
import { promises } from './promises.ts';
import { topics } from './topics.ts';

export interface Instrument<Kind extends string = string, Label extends string = string> {
  readonly kind: Kind;
  readonly help: string;
  readonly labels: readonly Label[];
  /** Label values that are there from the start, with 0: a series that is born with its first event hides that event. */
  readonly known: readonly Readonly<Record<Label, string>>[];
  readonly buckets: readonly number[];
}

function maker<const Kind extends string>(kind: Kind) {
  return <const Label extends string = never>(
    help: string,
    labels: readonly Label[] = [],
    more: Partial<Pick<Instrument<Kind, Label>, 'known' | 'buckets'>> = {},
  ): Instrument<Kind, Label> => ({ kind, help, labels, known: [], buckets: durationBuckets, ...more });
}
const counter = maker('counter');
const gauge = maker('gauge');
const histogram = maker('histogram');

/** Every combination of the values that each label may have. */
function combined<Label extends string>(values: Readonly<Record<Label, readonly string[]>>) {
  return Object.entries<readonly string[]>(values).reduce(
    (all, [label, of]) => all.flatMap((one) => of.map((value) => ({ ...one, [label]: value }))),
    [{} as Record<Label, string>],
  );
}

const ended = ['2xx', '3xx', '4xx', '5xx', 'timeout', 'network'];
const inputs = [topics.purchase.name, topics.promoBehavior.name];
const joined = [...inputs, topics.purchaseByUser.name, topics.promoBehaviorByUser.name];

const topic = 'messaging_destination_name';
const group = 'messaging_consumer_group_name';
const {
  messaging,
  http,
  outbox,
  tables,
  log,
  promotion,
  coupon,
  order,
  outside,
  money,
  banking,
  remittance,
  payment,
  settlement,
  delivery,
  lag,
  canary,
  recovery,
} = metrics;
const { membership } = metrics;
const checked = metrics.promises;

export const instruments = {
  [messaging.clientOperationDuration]: histogram(
    'Duration of a send (from the first record queued to the ack) or a commit.',
    ['messaging_operation_name', topic, 'error_type'],
  ),
  [messaging.processDuration]: histogram('Duration of handling one record or one batch.', [
    topic,
    group,
    'error_type',
  ]),
  [messaging.sentMessages]: counter('Records acked by the brokers.', [topic]),
  [messaging.consumedMessages]: counter('Records handed to a handler.', [topic, group]),
  [messaging.deadLetters]: counter('Records moved to a dead letter topic.', [topic, 'code']),
  [messaging.retries]: counter('Records moved to a retry topic.', [topic, 'attempt']),

  [http.requestDuration]: histogram('Duration of HTTP server requests.', [
    'http_request_method',
    'http_route',
    'http_response_status_code',
  ]),
  [http.clientCalls]: counter('Calls to systems outside, by how they ended.', ['client', 'outcome'], {
    known: combined({ client: ['webhooks'], outcome: [...ended, 'breaker'] }),
  }),
  [http.clientBreakerOpen]: gauge('1 while a system outside is left alone because its calls have failed.', [
    'client',
  ]),

  [outbox.pending]: gauge('Rows in the outbox of a database that ought to be published by now and are not.', [
    'database',
  ]),
  [outbox.oldestAgeSeconds]: gauge('For how long the oldest of them has been; 0 when there is none.', [
    'database',
  ]),
  [outbox.timerLateness]: histogram('From when a timer was due to the ack of its records.', ['database']),

  [tables.deletedRows]: counter(
    'Rows that were deleted because they were older than the catalog keeps them.',
    ['database', 'table'],
  ),
  [tables.cleanedTime]: gauge(
    'When nothing was left in the table that is older than the catalog keeps it (Unix time); at first the start of the process.',
    ['database', 'table'],
  ),
  [tables.bytes]: gauge(
    'Room that the table takes on the database’s disk, as its server estimates it; indexes and free pages included.',
    ['schema', 'table'],
  ),

  [log.lines]: counter('Log lines written by the process.', ['level'], {
    known: combined({ level: ['error', 'warn', 'info'] }),
  }),
  [log.published]: counter('Log lines of the process that are on their topic.'),
  [log.dropped]: counter('Log lines that are on stdout only, by why.', ['reason'], {
    known: combined({ reason: logDropReasons }),
  }),
  [log.waitingBytes]: gauge('Memory that log lines take which wait for Kafka.'),
  [log.stored]: counter(
    'Lines read from the topic of logs, by whether the log store had them already.',
    ['outcome'],
    {
      known: combined({ outcome: ['stored', 'repeated'] }),
    },
  ),
  [log.storeLatency]: histogram('From a line that was written to the log store’s answer.'),

  [checked.broken]: gauge('Of how many a promise was not true when it was checked last.', ['promise']),
  [checked.checkedTime]: gauge('When a promise was last checked (Unix time); 0: not yet.', ['promise']),
  [checked.checkSeconds]: counter('Time that checks took, their waiting for answers included.', ['promise'], {
    known: promises.map(({ name }) => ({ promise: name })),
  }),

  [promotion.purchases]: counter(
    'Purchases answered, by whether a promotion affected them (first answer).',
    ['promotion_affect'],
    { known: combined({ promotion_affect: ['0', '1'] }) },
  ),
  [promotion.acts]: counter('Acts on promotions taken into the join.', ['action'], {
    known: combined({ action: ['click', 'view'] }),
  }),
  [promotion.corrections]: counter(
    'Later answers with a higher version, because an act came after its purchase.',
  ),
  [promotion.duplicates]: counter('Records that said nothing new.', ['topic'], {
    known: combined({ topic: joined }),
  }),
  [promotion.late]: counter(
    'Records appended more than the grace after they happened: acts and purchases that belong together may have missed each other.',
    ['topic'],
    { known: combined({ topic: joined }) },
  ),
  [promotion.rejected]: counter('Records that could not be understood.', ['topic', 'code']),
  [promotion.pendingMisses]: gauge('Purchases without an act so far that wait for the act side to be read.'),
  [promotion.joinLatency]: histogram(
    'From the append of a purchase to the ack of its first answer.',
    ['promotion_affect'],
    { buckets: promotionLatencyBuckets },
  ),
  [promotion.reactionPurchases]: gauge(
    'Purchases of the age band in the window, whatever affected them: the same number for every promotion, to divide by.',
    ['promotion', 'age_band', 'window'],
  ),
  [promotion.reactionAffected]: gauge('Purchases in the window that the promotion affected.', [
    'promotion',
    'age_band',
    'window',
  ]),
  [promotion.reactionActs]: gauge('Clicks and views of the promotion in the window.', [
    'promotion',
    'age_band',
    'window',
  ]),
  [promotion.logLines]: counter('Lines read from log files, by what became of them.', ['topic', 'result'], {
    known: combined({ topic: inputs, result: ['published', 'dead_letter', 'blank'] }),
  }),
  [promotion.logFileLagBytes]: gauge('Bytes in log files that are not yet acked by Kafka.', ['topic']),

  [coupon.requests]: counter('Requests for coupons made durable.', ['ordering'], {
    known: combined({ ordering: orderBys }),
  }),
  [coupon.outcomes]: counter('Requests for coupons that were decided.', ['outcome', 'reason'], {
    known: [{ outcome: 'SUCCESS', reason: '' }, ...combined({ outcome: ['FAILED'], reason: couponReasons })],
  }),
  [coupon.decisionLatency]: histogram(
    'From the durable request to its decision, by the clock of the database.',
  ),
  [coupon.pushLatency]: histogram('From the durable request to the push to its client.'),
  [coupon.pushClients]: gauge('Clients that wait for outcomes here.'),
  [coupon.issued]: gauge('Coupons issued, by the counter in the store of truth.', ['coupon']),
  [coupon.stock]: gauge('Coupons that there are.', ['coupon']),

  [order.orders]: counter('Orders placed.'),
  [order.payments]: counter(
    'Requests to pay, by outcome: COMPLETED, REPEATED (the same request again), UNAVAILABLE or the reason of refusal.',
    ['outcome'],
    { known: combined({ outcome: ['COMPLETED', 'REPEATED', 'UNAVAILABLE'] }) },
  ),
  [order.rankingEvents]: counter(
    'Orders that came to the ranking, by outcome COUNTED or REPEATED.',
    ['outcome'],
    { known: combined({ outcome: ['COUNTED', 'REPEATED'] }) },
  ),
  [order.rankingPartial]: gauge(
    '1 while the ranking lacks orders that neither its topic nor the data platform has.',
  ),
  [order.analyticsEvents]: counter('Paid orders that the data platform has stored, repeats included.'),
  [order.productEvents]: counter(
    'Events of products that the data platform has stored, by kind, repeats included.',
    ['kind'],
    { known: combined({ kind: ['CREATED', 'PRICE_CHANGED', 'STOCK_CHANGED', 'DEPLETED'] }) },
  ),
  [order.expired]: counter('Orders that nobody paid in time.'),

  [outside.events]: counter(
    'Changes of state of events for systems outside, by the state entered.',
    ['state'],
    { known: combined({ state: ['PUBLISHED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER'] }) },
  ),
  [outside.webhookAttempts]: counter('Webhooks sent, by how they ended.', ['outcome'], {
    known: combined({ outcome: ended }),
  }),
  [outside.webhookDuration]: histogram('Duration of webhooks, by how they ended.', ['outcome']),
  [outside.deadLettered]: gauge(
    'Events for systems outside that were given up and not replayed with success.',
  ),
  [outside.inDoubt]: gauge(
    'Events for systems outside of which a webhook got no answer: the receiver may have done the work.',
  ),

  [money.operations]: counter(
    'Operations on the ledger, by outcome: DONE, REPEATED (the same request again), UNAVAILABLE or the reason of refusal.',
    ['kind', 'outcome'],
    {
      known: ['transfer', 'hold', 'post', 'release', 'correct'].flatMap((kind) =>
        ['DONE', 'REPEATED', 'UNAVAILABLE'].map((outcome) => ({ kind, outcome })),
      ),
    },
  ),
  [money.commitDuration]: histogram(
    'Transactions of the ledger, from their beginning to their commit; many operations share one.',
  ),

  [money.memberEvents]: counter(
    'Changes of members that money has heard of, by outcome FOLLOWED or KNOWN (the same or a newer one came before).',
    ['outcome'],
    { known: combined({ outcome: ['FOLLOWED', 'KNOWN'] }) },
  ),
  [money.leftAccounts]: gauge(
    'Accounts of members who have left that still have money in them, or under way: staff has to pay it out.',
  ),

  [money.recharges]: counter('Recharges that have ended, by state.', ['state'], {
    known: combined({ state: ['DONE', 'FAILED'] }),
  }),
  [money.openRecharges]: gauge(
    'Recharges that have not ended: REQUESTED (nobody was asked), ASKING (banking may have heard of it), AT_BANK.',
    ['state'],
  ),

  [membership.changes]: counter(
    'Members that joined or were changed, by kind; the same again is counted, too.',
    ['kind'],
    { known: combined({ kind: ['CREATED', 'CHANGED', 'SUSPENDED', 'REOPENED', 'CLOSED'] }) },
  ),
  [membership.logins]: counter(
    'Logins, by outcome: DONE, WRONG (e-mail or password), LIMITED (too many tries), SUSPENDED, UNAVAILABLE.',
    ['outcome'],
    { known: combined({ outcome: ['DONE', 'WRONG', 'LIMITED', 'SUSPENDED', 'UNAVAILABLE'] }) },
  ),

  [banking.firmbankings]: counter('Calls of banks about firm bankings, by the state that they led to.', [
    'bank',
    'state',
  ]),
  [banking.undecided]: gauge(
    'Firm bankings that are accepted and not decided: REQUESTED, WAITING (for a bank that is down), SENT, IN_DOUBT (the bank is asked).',
    ['bank', 'state'],
  ),

  [remittance.remittances]: counter('Remittances that have ended, by state.', ['state'], {
    known: combined({ state: ['DONE', 'FAILED'] }),
  }),
  [remittance.open]: gauge('Remittances that have not ended, by what is under way.', ['state']),

  [payment.slips]: counter('Payments and refunds that have ended, by state.', ['state'], {
    known: combined({ state: ['DONE', 'FAILED'] }),
  }),
  [payment.open]: gauge('Payments and refunds that have not ended, by what is under way.', ['state']),
  [settlement.slips]: counter('Slips that came, by kind; repeats included.', ['kind'], {
    known: combined({ kind: ['PAID', 'REFUNDED'] }),
  }),
  [settlement.lines]: counter('Settlements of merchants that have ended or stopped, by state.', ['state'], {
    known: combined({ state: ['DONE', 'STOPPED'] }),
  }),
  [settlement.open]: gauge('Settlements of merchants that have not ended, by what is under way.', ['state']),

  [delivery.changes]: counter('Steps of orders of dishes, by the state entered; repeats included.', [
    'state',
  ]),
  [delivery.due]: counter('What was due of orders of dishes, by what became of it.', ['outcome'], {
    known: combined({ outcome: ['ASSIGNED', 'TOLD_SUCCEEDED', 'TOLD_FAILED', 'PUT_OFF'] }),
  }),
  [delivery.dueLateness]: histogram('From when something of an order was due to when it was done.'),
  [delivery.heard]: counter(
    'Words on deliveries that orders heard, by what they made of them.',
    ['outcome'],
    {
      known: combined({ outcome: ['TAKEN', 'STALE', 'UNKNOWN', 'EARLY'] }),
    },
  ),
  [delivery.open]: gauge('Orders of dishes under way, by state.', ['state']),
  [delivery.oldestAge]: gauge('Since the order longest in a state has entered it, by state.', ['state']),
  [delivery.riders]: gauge('Riders, by what they do.', ['state']),
  [delivery.notifications]: counter('People told of changes of their orders, of each once.'),
  [delivery.notifyLatency]: histogram('From a change of an order to its notification.'),
  [delivery.logged]: counter('Notifications that were written into the log; repeats included.'),

  [lag.cycleDuration]: histogram('Time that a pass over the cluster took.'),
  [lag.cycleFailures]: counter('Passes in which something could not be read.'),
  [lag.cycleRequests]: gauge('Requests that the last pass sent to the broker.', ['broker']),

  [canary.sent]: counter('Probes sent.', ['partition']),
  [canary.failed]: counter('Probes that got no ack within their deadline.', ['partition']),
  [canary.received]: counter('Probes received, each once.', ['partition']),
  [canary.lost]: counter('Probes that were acked and not received within 10 s.', ['partition']),
  [canary.duplicated]: counter('Probes received once more.', ['partition']),
  [canary.outOfOrder]: counter('Probes received after a later one of their partition.', ['partition']),
  [canary.probes]: counter(
    'Probes that were due and have a verdict: one a second for each expected broker.',
    ['partition'],
  ),
  [canary.goodProbes]: counter('Probes that were acked and received within 2 s.', ['partition']),
  [canary.produceLatency]: histogram('From the sending of a probe to its ack by all in-sync replicas.', [
    'partition',
  ]),
  [canary.endToEndLatency]: histogram('From the sending of a probe to its receipt.', ['partition']),
  [canary.expectedBrokers]: gauge('Brokers that should be there.'),
  [canary.seenBrokers]: gauge('Brokers that the cluster knows to be alive; 0 when none answers.'),
  [canary.currentOutage]: gauge(
    'Seconds since the first failing probe of the outage that is going on; 0 when there is none.',
  ),
  [canary.lastOutage]: gauge(
    'Length of the last outage that is over; 0 when there was none since the start.',
  ),

  [recovery.replicationAge]: gauge(
    'Seconds since all copies of the partition were seen in sync; 0 while they are.',
    ['topic', 'partition'],
  ),
  [recovery.secondsAtRisk]: gauge('Seconds of data that a single copy holds.', ['topic', 'partition']),

  [metrics.zookeeper.diskBytes]: gauge(
    'What snapshots and transaction log of the ZooKeeper take on its disk. Not there while it does not say.',
    ['server'],
  ),

  [metrics.backup.atRisk]: gauge(
    'For how long what was committed may be on the disk of the database alone; infinite until that is known.',
  ),
  [metrics.backup.baseTime]: gauge(
    'When the newest base copy was taken from which all is there since (Unix time); 0: there is none.',
  ),
  [metrics.backup.verifiedTime]: gauge(
    'When a backup was last restored and found to be what was there (Unix time).',
  ),

  [metrics.guard.writer]: gauge('1 for the member of the database that takes writes; 0 for all: none does.', [
    'member',
  ]),
  [metrics.guard.memberUp]: gauge('1 for a member of the database that answers the guard.', ['member']),
  [metrics.guard.atRisk]: gauge(
    'For how long what was committed may be on one member of the database alone; 0 while both have it, infinite when that was never known.',
  ),
  [metrics.guard.changes]: counter(
    'How often another member of the database has become the one that takes writes.',
    [],
  ),

  [metrics.process.anonymousMemory]: gauge(
    'Memory of the process without mapped files: what counts against the limit of its container.',
  ),
};

type Instruments = typeof instruments;
/** Names of the counters, say: `NameOf<'counter'>`. */
export type NameOf<Kind extends string> = {
  [Name in keyof Instruments]: Instruments[Name]['kind'] extends Kind ? Name : never;
}[keyof Instruments];
/** Labels of the metric of that name. */
export type LabelOf<Name extends keyof Instruments> = Instruments[Name]['labels'][number];
