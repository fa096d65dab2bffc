import test from 'ava';
import { at, rule } from './rule.ts';

const complete = {
  name: 'Example',
  severity: 'page',
  expr: 'up == 0',
  for: '1m',
  summary: 'An example.',
  meaning: 'Nothing.',
  firstStep: 'Nothing.',
  runbook: 'alerts/runbooks/Example.md',
  proof: {
    fires: [{ when: 'down', series: { 'up{job="x"}': [at(0)] }, trueFrom: '0s', alerts: [{ job: 'x' }] }],
    staysQuiet: [{ when: 'up', series: { 'up{job="x"}': [at(1)] } }],
    live: { notLive: 'an example' },
  },
} as const;

// Each of these must not compile: tsc, which is part of the tests, reports an unused @ts-expect-error.
test('an alert without runbook, proof, near miss, live answer or first step does not compile', (t) => {
  t.is(rule(complete).name, 'Example');
  const { runbook: _runbook, ...noRunbook } = complete;
  const { proof, ...noProof } = complete;
  const { firstStep: _firstStep, ...noFirstStep } = complete;
  const { for: _for, ...noFor } = complete;
  const { live: _live, ...noLive } = proof;
  // @ts-expect-error no runbook
  rule(noRunbook);
  // @ts-expect-error no proof
  rule(noProof);
  // @ts-expect-error no first step
  rule(noFirstStep);
  // @ts-expect-error no `for`: "at once" is said aloud
  rule(noFor);
  // @ts-expect-error neither caused live nor a reason why not
  rule({ ...complete, proof: noLive });
  // @ts-expect-error no case in which it fires
  rule({ ...complete, proof: { ...proof, fires: [] } });
  // @ts-expect-error no near miss in which it stays quiet
  rule({ ...complete, proof: { ...proof, staysQuiet: [] } });
  // @ts-expect-error the runbook of another alert
  rule({ ...complete, runbook: 'alerts/runbooks/Other.md' });
  // @ts-expect-error a severity that is routed nowhere
  rule({ ...complete, severity: 'critical' });
  // @ts-expect-error a cause that keeps nothing back
  rule({ ...complete, inhibitedBy: ['Nonsense'] });
  // @ts-expect-error a duration without a unit
  rule({ ...complete, for: '60' });
});
