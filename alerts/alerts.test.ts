import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { environments } from '../catalog/environments.ts';
import { renderRules } from './index.ts';

test('every alert has a severity, a summary, and a runbook that exists', (t) => {
  for (const environment of Object.values(environments))
    for (const [name, text] of renderRules(environment)) {
      t.regex(name, /\.yml$/);
      for (const group of parse(text).groups)
        for (const rule of group.rules) {
          t.truthy(rule.labels.severity, rule.alert);
          t.truthy(rule.annotations.summary, rule.alert);
          t.is(rule.annotations.runbook, `alerts/runbooks/${rule.alert}.md`);
          t.true(existsSync(join(import.meta.dirname, '..', rule.annotations.runbook)), rule.alert);
        }
    }
});

test('Watchdog fires on its first evaluation, whatever the metrics say', (t) => {
  const { groups } = parse(renderRules(environments.dev).get('watchdog.yml')!);
  t.is(groups[0].rules[0].expr, 'vector(1)');
  t.is(groups[0].rules[0].for, undefined);
});
