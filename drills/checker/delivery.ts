/**
 * Judges what people of food delivery asked for and were told against the rows and the topics: each order took only steps that there
 * are and has ended, each change was told once and in order, riders were in one place and are free, and stock and money are where
 * the ends say. Pure.
 */
import { topics } from '../../catalog/topics.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, nameOf, showing, traceIdOf } from './wire.ts';

const { deliveryOrderEvents, deliveryEvents, deliveryLogEvents } = topics;
export const deliveryTopics: readonly string[] = [deliveryOrderEvents, deliveryEvents, deliveryLogEvents].map(
  ({ name }) => name,
);

/** What the load says that people did, and were told. */
export interface DeliveryTold {
  readonly orders: readonly {
    /** As answered, each time that it was sent. */
    readonly ids: readonly string[];
    /** As the token says; rows have the pseudonym. */
    readonly customer: string;
    readonly itemId: string;
    readonly quantity: number;
    readonly district: string;
    readonly owes: 'accepted' | 'refused' | 'either';
    readonly outcome: 'accepted' | 'refused' | 'failed';
    readonly steps: readonly {
      readonly step: string;
      readonly state: string;
      readonly version: number;
      readonly owes?: 'refused';
    }[];
    readonly confirmed: boolean;
    /** Undefined: somebody still waited for something. */
    readonly end: string | undefined;
    readonly version: number;
  }[];
  readonly dishes: readonly {
    readonly itemId: string;
    readonly priceMinor: number;
    readonly stock: number;
    readonly added: number;
    readonly mayBeAdded: number;
  }[];
  readonly riders: readonly { readonly district: string }[];
  readonly shown: readonly {
    readonly role: string;
    readonly subject: string;
    readonly seen: readonly { readonly orderId: string; readonly version: number; readonly state: string }[];
  }[];
}

/** Rows of one view, of the dishes and districts of the run. */
export interface DeliveryRows {
  readonly stock: ReadonlyMap<string, number>;
  readonly orders: readonly {
    readonly id: string;
    readonly customer: string;
    readonly owner: string;
    readonly itemId: string;
    readonly quantity: number;
    readonly paidMinor: number;
    readonly refundedMinor: number;
    /** Whether the latest refund that was asked for has a photo of this order that is kept. */
    readonly hasPhoto: boolean;
    readonly district: string;
    readonly state: string;
    readonly version: number;
  }[];
  /** Of an order in the order of its versions. */
  readonly changes: readonly {
    readonly orderId: string;
    readonly version: number;
    readonly step: string;
    readonly state: string;
    readonly atMs: number;
  }[];
  /** In the order in which people are shown them. */
  readonly notifications: readonly {
    readonly orderId: string;
    readonly version: number;
    readonly role: string;
    readonly person: string;
    readonly state: string;
  }[];
  readonly riders: readonly { readonly rider: string; readonly district: string; readonly state: string }[];
}

/** Each step that there is: from which state, to which, and who is told. As people read requirements, not as the code has it. */
const steps: Readonly<Record<string, string>> = {
  ' place PLACED': 'customer owner',
  'PLACED accept ACCEPTED': 'customer',
  'PLACED cancel CANCELLED': 'customer owner',
  'ACCEPTED cook COOKING': 'customer',
  'COOKING call CALLED': 'customer',
  'CALLED dispatch ASSIGNED': 'customer owner rider',
  'CALLED dispatch DELIVERY_FAILED': 'customer owner',
  'DELIVERY_FAILED callAgain CALLED': 'customer owner',
  'DELIVERY_FAILED cancel CANCELLED': 'customer owner',
  'ASSIGNED leave DELIVERING': 'customer',
  'ASSIGNED deliver DELIVERED': 'customer owner rider',
  'DELIVERING deliver DELIVERED': 'customer owner rider',
  'DELIVERED requestRefund REFUND_REQUESTED': 'customer owner',
  'REFUND_REQUESTED approve REFUND_APPROVED': 'customer',
  'REFUND_REQUESTED approve REDELIVERY': 'customer',
  'REFUND_REQUESTED reject REFUND_REJECTED': 'customer',
  'REDELIVERY cook COOKING': 'customer',
};
/** As addresses name them. */
const stepNames: Readonly<Record<string, string>> = {
  'call-again': 'callAgain',
  'refund-request': 'requestRefund',
};
/** Nobody needs to do anything any more. */
const ends = ['CANCELLED', 'DELIVERED', 'REFUND_APPROVED', 'REFUND_REJECTED'];
/** The platform itself has to leave these. */
const underWay = ['CALLED', 'ASSIGNED', 'DELIVERING'];
const calledOff = ['CANCELLED', 'REFUND_APPROVED'];
const deliveredAfterMs = 1_000;

/** @param of everything on a topic of deliveryTopics since the run began */
export function checkDelivery(
  told: DeliveryTold,
  rows: DeliveryRows,
  of: (topic: string) => readonly SeenRecord[],
  personal: readonly string[],
): Verdict {
  const records = deliveryTopics.flatMap(of);
  const published = checkPublished(rows, of);
  const shows = showing(records, personal);
  const accepted = told.orders.filter(({ outcome }) => outcome === 'accepted');
  return {
    subject: 'delivery',
    acked: accepted.length,
    inDoubt: told.orders.filter(({ outcome }) => outcome === 'failed').length,
    repeats: published.repeats,
    findings: [
      ...checkOrdered(told, rows),
      ...checkSteps(told, rows),
      ...checkNotified(rows),
      ...checkShown(told, rows),
      ...checkRiders(told, rows),
      ...checkStock(told, rows),
      ...published.findings,
      ...(shows === undefined ? [] : [found('personal-data', nameOf(shows), 'shows whose it is')]),
    ],
  };
}

/** What was accepted is there once, as it was asked for and told; what is in doubt is there once at most. */
function checkOrdered({ orders, dishes }: DeliveryTold, rows: DeliveryRows): readonly Finding[] {
  const findings: Finding[] = [];
  const byId = new Map(rows.orders.map((order) => [order.id, order]));
  const prices = new Map(dishes.map(({ itemId, priceMinor }) => [itemId, priceMinor]));
  const unasked = new Map(byId);
  const pseudonyms = new Map<string, string>();
  const inDoubt: string[] = [];
  const inWords = (one: { readonly itemId: string; readonly quantity: number; readonly district: string }) =>
    `${one.quantity} of ${one.itemId} to ${one.district}`;
  for (const one of orders) {
    const { ids, customer, owes, outcome, end, version } = one;
    const [id = inWords(one)] = ids;
    const out = (kind: Finding['kind'], detail: string) => findings.push(found(kind, id, detail));
    if (new Set(ids).size > 1) out('doubled', 'the same request was accepted as two');
    if (outcome === 'accepted' && owes === 'refused') out('wrong', 'was accepted, and had to be refused');
    if (outcome === 'refused' && owes === 'accepted') out('wrong', 'was refused, and is in order');
    if (outcome === 'failed') inDoubt.push(inWords(one));
    if (outcome !== 'accepted') continue;
    const row = byId.get(id);
    unasked.delete(id);
    if (row === undefined) {
      out('lost', 'was accepted, and is not there');
      continue;
    }
    const isHis = pseudonyms.get(customer) ?? row.customer;
    pseudonyms.set(customer, isHis);
    if (row.customer !== isHis || inWords(row) !== inWords(one))
      out('wrong', "is another order than was placed, or somebody else's");
    if (row.paidMinor !== prices.get(row.itemId)! * row.quantity)
      out('ledger', `${row.paidMinor} were paid, which is not its price`);
    if (end !== undefined && (end !== row.state || version !== row.version))
      out('wrong', `its people left it ${end}, and it is ${row.state}`);
    if (end === undefined && !ends.includes(row.state))
      out('untold', `nobody has brought it to its end: it is ${row.state}`);
  }
  if (new Set(pseudonyms.values()).size !== pseudonyms.size)
    findings.push(found('wrong', 'customers', 'two of them are one in the rows'));
  for (const row of unasked.values()) {
    const at = inDoubt.indexOf(inWords(row));
    if (at === -1) findings.push(found('from-nowhere', row.id, 'nobody has placed this order'));
    else inDoubt.splice(at, 1);
  }
  for (const { id, state, paidMinor, refundedMinor } of rows.orders) {
    if (underWay.includes(state)) findings.push(found('lost', id, `is ${state} and goes no further`));
    if (refundedMinor !== (calledOff.includes(state) ? paidMinor : 0))
      findings.push(found('ledger', id, `is ${state}, and ${refundedMinor} of ${paidMinor} went back`));
  }
  return findings;
}

/** Only steps that there are, one a version, those that were accepted among them; the clock is not early. */
function checkSteps({ orders }: DeliveryTold, rows: DeliveryRows): readonly Finding[] {
  const findings: Finding[] = [];
  const changesOf = Map.groupBy(rows.changes, ({ orderId }) => orderId);
  const confirmed = new Set(orders.flatMap((one) => (one.confirmed ? one.ids : [])));
  for (const { id, state, version, hasPhoto } of rows.orders) {
    const changes = changesOf.get(id) ?? [];
    const out = (kind: Finding['kind'], detail: string) => findings.push(found(kind, id, detail));
    let before = '';
    let assignedAtMs = Number.NaN;
    for (const [index, change] of changes.entries()) {
      if (change.version !== index + 1) out('order', `version ${index + 1} is not there`);
      if (steps[`${before} ${change.step} ${change.state}`] === undefined)
        out('wrong', `${change.step} led from ${before} to ${change.state}`);
      if (change.state === 'ASSIGNED') assignedAtMs = change.atMs;
      if (change.state === 'DELIVERED' && !confirmed.has(id) && change.atMs < assignedAtMs + deliveredAfterMs)
        out('wrong', `was delivered ${change.atMs - assignedAtMs} ms after it was assigned`);
      before = change.state;
    }
    if (!hasPhoto && changes.some(({ step }) => step === 'requestRefund'))
      out('wrong', 'a refund was asked for without a photo');
    if (before !== state || changes.length !== version)
      out('wrong', `is ${state} at version ${version}, and its changes say ${before} at ${changes.length}`);
  }
  for (const { ids, steps: taken } of orders)
    for (const { step, state, version, owes } of taken) {
      const change = changesOf.get(ids[0]!)?.[version - 1];
      const at = `${ids[0]}-${version}`;
      if (owes === 'refused')
        findings.push(found('wrong', at, `${step} was accepted, and had to be refused`));
      if (change === undefined || change.step !== (stepNames[step] ?? step) || change.state !== state)
        findings.push(found('lost', at, `${step} was accepted, and is not there`));
    }
  return findings;
}

/** One notification a change and person who is to be told, in the order of the versions. */
function checkNotified(rows: DeliveryRows): readonly Finding[] {
  const findings: Finding[] = [];
  const orders = new Map(rows.orders.map((order) => [order.id, order]));
  const told = Map.groupBy(rows.notifications, ({ orderId, version }) => `${orderId}-${version}`);
  const newest = new Map<string, number>();
  for (const { orderId, version, role } of rows.notifications) {
    const whose = `${orderId} ${role}`;
    if (version < (newest.get(whose) ?? 0))
      findings.push(found('order', `${orderId}-${version}`, `its ${role} was told of a later change before`));
    newest.set(whose, Math.max(version, newest.get(whose) ?? 0));
  }
  let before = { orderId: '', state: '' };
  for (const change of rows.changes) {
    const { orderId, version, step, state } = change;
    const at = `${orderId}-${version}`;
    const from = before.orderId === orderId ? before.state : '';
    before = change;
    const owed = steps[`${from} ${step} ${state}`];
    const list = told.get(at) ?? [];
    told.delete(at);
    const roles = list.map(({ role }) => role).toSorted();
    for (const role of owed?.split(' ') ?? [])
      if (!roles.includes(role)) findings.push(found('untold', at, `its ${role} was not told`));
    if (new Set(roles).size !== roles.length) findings.push(found('doubled', at, 'somebody was told twice'));
    if (owed !== undefined && roles.some((role) => !owed.split(' ').includes(role)))
      findings.push(found('wrong', at, 'somebody was told who is not to be'));
    const { customer, owner } = orders.get(orderId)!;
    if (list.some((one) => one.state !== state || !isFor(one, { customer, owner })))
      findings.push(found('wrong', at, 'another one was told, or something else'));
  }
  for (const at of told.keys()) findings.push(found('from-nowhere', at, 'somebody was told of no change'));
  return findings;
}

const isFor = (
  { role, person }: DeliveryRows['notifications'][number],
  parties: { readonly customer: string; readonly owner: string },
): boolean => (role === 'customer' || role === 'owner' ? parties[role] === person : true);

/** What people saw is what they were told, each once and in order; customers saw everything of their orders. */
function checkShown({ orders, shown }: DeliveryTold, rows: DeliveryRows): readonly Finding[] {
  const findings: Finding[] = [];
  const told = new Set(
    rows.notifications.map(({ orderId, version, role, state }) => `${orderId}-${version} ${role} ${state}`),
  );
  for (const { role, subject, seen } of shown) {
    const newest = new Map<string, number>();
    const all = new Set<string>();
    for (const { orderId, version, state } of seen) {
      const at = `${orderId}-${version}`;
      if (all.has(at)) findings.push(found('doubled', at, `the ${role} was shown it twice`));
      else if (version < (newest.get(orderId) ?? 0))
        findings.push(found('order', at, `the ${role} was shown a later change before`));
      if (!told.has(`${at} ${role} ${state}`))
        findings.push(found('from-nowhere', at, `the ${role} was shown what nobody told`));
      all.add(at);
      newest.set(orderId, Math.max(version, newest.get(orderId) ?? 0));
    }
    if (role !== 'customer') continue;
    for (const { ids, version, end } of orders.filter(({ customer }) => customer === subject))
      for (let at = 1; end !== undefined && at <= version; at += 1)
        if (!all.has(`${ids[0]}-${at}`))
          findings.push(found('untold', `${ids[0]}-${at}`, 'its customer was never shown it'));
  }
  return findings;
}

/** All are free at the end, and none had two orders at a time. */
function checkRiders({ riders }: DeliveryTold, rows: DeliveryRows): readonly Finding[] {
  const findings = rows.riders
    .filter(({ state }) => state !== 'FREE')
    .map(({ rider, state }) => found('lost', rider, `the rider is ${state}, and all orders have ended`));
  for (const [district, there] of Map.groupBy(riders, (one) => one.district)) {
    const now = rows.riders.filter((one) => one.district === district).length;
    if (now !== there.length)
      findings.push(found('lost', district, `${there.length} riders began work, and ${now} are there`));
  }
  const changes = new Map(rows.changes.map((one) => [`${one.orderId}-${one.version}`, one]));
  const words = rows.notifications.filter(({ role }) => role === 'rider');
  for (const [rider, own] of Map.groupBy(words, ({ person }) => person)) {
    const moments = own
      .map(({ orderId, version, state }) => ({
        orderId,
        isEnd: state === 'DELIVERED',
        atMs: changes.get(`${orderId}-${version}`)?.atMs ?? Number.NaN,
      }))
      .toSorted((a, b) => a.atMs - b.atMs || Number(b.isEnd) - Number(a.isEnd));
    let at: string | undefined;
    for (const { orderId, isEnd } of moments) {
      if (isEnd ? at !== orderId : at !== undefined)
        findings.push(found('doubled', orderId, `rider ${rider} had another order at the same time`));
      at = isEnd ? undefined : orderId;
    }
  }
  return findings;
}

/** What was there and was added is there or ordered, but for orders that were called off. */
function checkStock({ dishes }: DeliveryTold, rows: DeliveryRows): readonly Finding[] {
  const ordered = new Map<string, number>();
  for (const { itemId, quantity, state } of rows.orders)
    if (!calledOff.includes(state)) ordered.set(itemId, (ordered.get(itemId) ?? 0) + quantity);
  return dishes.flatMap(({ itemId, stock, added, mayBeAdded }) => {
    const is = rows.stock.get(itemId) ?? 0;
    const least = stock + added - (ordered.get(itemId) ?? 0);
    return is >= least && is <= least + mayBeAdded
      ? []
      : [found('ledger', itemId, `there are ${is} of the dish, must be ${least}`)];
  });
}

/** Each change is on the topic of orders, first told in the order of the versions, and each notification on that of the log. */
function checkPublished(rows: DeliveryRows, of: (topic: string) => readonly SeenRecord[]) {
  const findings: Finding[] = [];
  let repeats = 0;
  const idsOn = (topic: string) => {
    const ids = new Set<string>();
    const newest = new Map<string, number>();
    for (const record of of(topic)) {
      const { eventId, orderId, version } = (bodyOf(record) ?? {}) as {
        readonly eventId?: string;
        readonly orderId?: string;
        readonly version?: number;
      };
      if (eventId === undefined) {
        findings.push(found('wrong', nameOf(record), 'is no event of a delivery', traceIdOf(record)));
        continue;
      }
      if (ids.has(eventId)) repeats += 1;
      else if (orderId !== undefined && version !== undefined) {
        if (version < (newest.get(orderId) ?? 0))
          findings.push(found('order', eventId, 'came after a later change', traceIdOf(record)));
        newest.set(orderId, version);
      }
      ids.add(eventId);
    }
    return ids;
  };
  const changes = idsOn(deliveryOrderEvents.name);
  const logged = idsOn(deliveryLogEvents.name);
  for (const { orderId, version } of rows.changes)
    if (!changes.has(`${orderId}-${version}`))
      findings.push(found('untold', `${orderId}-${version}`, `is not on ${deliveryOrderEvents.name}`));
  for (const { orderId, version, role } of rows.notifications)
    if (!logged.has(`${orderId}-${version}-${role}`))
      findings.push(found('untold', `${orderId}-${version}-${role}`, `is not on ${deliveryLogEvents.name}`));
  return { findings, repeats };
}
