/** Two reports for tests and pictures: a broker that was killed as promised, and a worker that lost and doubled. */
import type { Finding } from '../checker/verdict.ts';
import type { Curve, DrillReport } from '../drill.ts';

const startedAtMs = Date.UTC(2026, 10, 20, 21, 14, 5);
const context = {
  commit: 'a1b2c3d',
  machine: '2 x Sample CPU, 24 GiB',
  'load average before': '1.2 1.0 0.9',
  node: 'v24.9.0',
  kafka: 'muster/kafka:3.9.2',
  zookeeper: 'muster/zookeeper:3.9.4',
  mysql: 'muster/mysql:8.4',
} as const;

/** A value a second, with some noise that is always the same. */
function curve(
  name: string,
  unit: Curve['unit'],
  lengthMs: number,
  valueAt: (second: number) => number | undefined,
): Curve {
  const points = Array.from({ length: Math.floor(lengthMs / 1_000) }, (_, second) => {
    const value = valueAt(second);
    const noise = 1 + 0.08 * Math.sin(second * 12.9898 + name.length);
    return value === undefined ? [] : [{ atMs: startedAtMs + second * 1_000, value: value * noise }];
  });
  return { name, unit, points: points.flat() };
}

const loadMs = 105_000;
const faultMs = 8_000;
const healMs = 90_000;
const at = (ms: number) => startedAtMs + ms;
const outage = (second: number) => second >= 8 && second < 12;

export const passedReport: DrillReport = {
  drill: 'broker-2-killed',
  about: 'Broker 2 is killed and stays dead for 82 s: publishing goes on after seconds, nothing is lost.',
  environment: 'ci',
  context,
  startedAtMs,
  endedAtMs: at(150_000),
  events: [
    { atMs: at(0), kind: 'load', what: 'load begins' },
    { atMs: at(faultMs), kind: 'fault', what: 'kill kafka-2' },
    { atMs: at(faultMs), kind: 'note', what: 'the canary saw an outage of 3.6 s' },
    {
      atMs: at(11_900),
      kind: 'recovered',
      what: '3.9 s after kill kafka-2: the last failure was seen by probes of partition 1',
    },
    { atMs: at(72_600), kind: 'detected', what: 'page: BrokersMissing' },
    { atMs: at(72_600), kind: 'alert', what: 'BrokersMissing arrives at page' },
    { atMs: at(healMs), kind: 'heal', what: 'kafka-2 healed' },
    { atMs: at(loadMs), kind: 'load', what: 'load ends' },
    { atMs: at(141_000), kind: 'recovered', what: 'steady state' },
    { atMs: at(149_000), kind: 'check', what: 'promotion: 20713 acked, 0 findings' },
  ],
  curves: [
    curve('load sent', 'per second', loadMs, () => 200),
    curve('load acked', 'per second', loadMs, (s) => (outage(s) ? 60 : s === 12 ? 640 : 200)),
    curve('load failures', 'per second', loadMs, (s) => (outage(s) ? 90 : 0)),
    curve('load latency p50', 'ms', loadMs, (s) => (outage(s) ? 900 : 9)),
    curve('load latency p99', 'ms', loadMs, (s) => (outage(s) ? 3_800 : 42)),
    curve('probes latency p99', 'ms', loadMs, (s) =>
      s === 9 || s === 10 ? undefined : outage(s) ? 3_500 : 24,
    ),
    curve('lag', 's', loadMs, (s) => (outage(s) ? s - 7 : s < 18 && s > 11 ? 18 - s : 0.2)),
  ],
  rtoMs: 3_900,
  rpo: { lost: 0, oldestLostAgeMs: 0 },
  detectionMs: 64_600,
  alerts: [{ name: 'BrokersMissing', receiver: 'page', firedAtMs: at(72_600), resolvedAtMs: at(118_000) }],
  sent: 20_713,
  failed: 0,
  undecided: 0,
  deadLettersOwed: 0,
  latencyMs: { p50: 9, p99: 61, max: 3_804 },
  verdicts: [{ subject: 'promotion', acked: 20_713, inDoubt: 0, repeats: 31, findings: [] }],
  targets: [
    { name: 'RTO', target: '<= 5.0 s', measured: '3.9 s', met: true },
    { name: 'acked and lost', target: '0', measured: '0', met: true },
    { name: 'wrong, doubled or untold', target: '0', measured: '0', met: true },
    { name: 'requests failed for good', target: '<= 0.0 %', measured: '0 of 20713', met: true },
    { name: 'alert BrokersMissing', target: '<= 75.0 s', measured: '64.6 s', met: true },
    { name: 'steady state again', target: '<= 5 min', measured: 'reached', met: true },
  ],
  passed: true,
};

const kinds = ['lost', 'doubled', 'wrong'] as const;
const details = {
  lost: 'acked at 21:14:13.204, and no promotion, rejection or dead letter came of it',
  doubled: '2 promotions for one purchase, at offsets 4711 and 4802 of promotion-1',
  wrong: 'affected by promotion 12, the oracle says 14',
} as const;

export const foundOut: readonly Finding[] = Array.from({ length: 21 }, (_, index) => {
  const kind = kinds[index % 7 === 0 ? 2 : index % 2]!;
  const traceId = (index + 11).toString(16).padStart(4, '0').repeat(8);
  return {
    kind,
    id: `purchase-${String(index * 37).padStart(5, '0')}`,
    detail: details[kind],
    ...(index === 3 ? {} : { traceId }),
  };
});

export const failedReport: DrillReport = {
  ...passedReport,
  drill: 'worker-killed',
  about:
    'The join is killed; the engine starts it again: it restores its state and answers every purchase once.',
  startedAtMs,
  endedAtMs: at(96_000),
  events: [
    { atMs: at(0), kind: 'load', what: 'load begins' },
    { atMs: at(faultMs), kind: 'fault', what: 'crash promotion' },
    {
      atMs: at(27_300),
      kind: 'recovered',
      what: '19.3 s after crash promotion: the last failure was seen by promotion answers',
    },
    { atMs: at(31_000), kind: 'alert', what: 'PromotionTooLate arrives at ticket' },
    { atMs: at(35_000), kind: 'load', what: 'load ends' },
    { atMs: at(92_000), kind: 'check', what: 'promotion: 6871 acked, 21 findings' },
  ],
  curves: [
    curve('load sent', 'per second', 35_000, () => 200),
    curve('load acked', 'per second', 35_000, () => 199),
    curve('answers acked', 'per second', 35_000, (s) => (s > 8 && s < 24 ? 0 : s === 24 ? 2_400 : 200)),
    curve('answers failures', 'per second', 35_000, (s) => (s > 7 && s < 24 ? 200 : 0)),
    curve('load latency p99', 'ms', 35_000, () => 38),
    curve('answers latency p99', 'ms', 35_000, (s) =>
      s > 8 && s < 24 ? undefined : s > 23 && s < 28 ? 16_000 : 130,
    ),
    curve('lag', 's', 60_000, (s) => (s > 8 && s < 25 ? s - 8 : 0.3)),
  ],
  rtoMs: 19_300,
  rpo: { lost: foundOut.filter(({ kind }) => kind === 'lost').length, oldestLostAgeMs: 4_210 },
  detectionMs: undefined,
  alerts: [{ name: 'PromotionTooLate', receiver: 'ticket', firedAtMs: at(31_000) }],
  sent: 7_271,
  failed: 0,
  latencyMs: { p50: 8, p99: 38, max: 212 },
  verdicts: [
    { subject: 'promotion', acked: 6_871, inDoubt: 2, repeats: 118, findings: foundOut },
    { subject: 'orders', acked: 400, inDoubt: 0, repeats: 0, findings: [] },
  ],
  targets: [
    { name: 'RTO', target: '<= 12.0 s', measured: '19.3 s', met: false },
    { name: 'acked and lost', target: '0', measured: '9', met: false },
    { name: 'wrong, doubled or untold', target: '0', measured: '12', met: false },
    { name: 'requests failed for good', target: '<= 0.0 %', measured: '0 of 7271', met: true },
    { name: 'steady state again', target: '<= 5 min', measured: 'reached', met: true },
  ],
  passed: false,
};
