/** The rules of delivery orders as a person reads them in what was asked for, written by hand: what the machine is judged by. */
import type { Actor, State, Step } from './machine.ts';

/** From, step, who, and where it leads; every other combination is refused. */
const allowed = `
  PLACED            accept         owner     ACCEPTED
  PLACED            cancel         customer  CANCELLED
  ACCEPTED          cook           owner     COOKING
  COOKING           call           owner     CALLED
  CALLED            dispatch       clock     ASSIGNED | DELIVERY_FAILED
  DELIVERY_FAILED   callAgain      customer  CALLED
  DELIVERY_FAILED   cancel         customer  CANCELLED
  ASSIGNED          leave          rider     DELIVERING
  ASSIGNED          deliver        rider     DELIVERED
  ASSIGNED          deliver        clock     DELIVERED
  DELIVERING        deliver        rider     DELIVERED
  DELIVERING        deliver        clock     DELIVERED
  DELIVERED         requestRefund  customer  REFUND_REQUESTED
  REFUND_REQUESTED  approve        owner     REFUND_APPROVED | REDELIVERY
  REFUND_REQUESTED  reject         owner     REFUND_REJECTED
  REDELIVERY        cook           owner     COOKING`;

const rules = new Map(
  allowed
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s{2,}/))
    .map(([from, step, by, to]) => [`${from} ${step} ${by}`, to!.split(' | ') as State[]]),
);

/** Where a step may lead; undefined: it is forbidden. */
export const leadsTo = (from: State, step: Step, by: Actor): readonly State[] | undefined =>
  rules.get(`${from} ${step} ${by}`);

/** What people may do in a state. */
export const possible = (state: State) =>
  [...rules.keys()]
    .map((rule) => rule.split(' ') as [State, Step, Actor])
    .flatMap(([from, step, by]) => (from === state && by !== 'clock' ? [{ step, by }] : []));

export const steps = [
  'accept',
  'cancel',
  'cook',
  'call',
  'dispatch',
  'leave',
  'deliver',
  'callAgain',
  'requestRefund',
  'approve',
  'reject',
] as const satisfies readonly Step[];
