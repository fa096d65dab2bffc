import { readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { run } from '../../environment/children.ts';
import { checkout } from '../../environment/paths.ts';
import { edited } from '../edits.ts';
import { scenarios } from '../simulation/scenarios.ts';
import { bugNamed, bugs, controls } from './bugs.ts';
import { hookOf } from './process.ts';

const textOf = (file: string) => readFile(join(checkout, file), 'utf8');

for (const { name, edits } of bugs)
  test(`seeded bug ${name} fits the source as it is, and what comes of it can be parsed`, async (t) => {
    t.true(edits.length > 0);
    for (const file of new Set(edits.map((edit) => edit.file))) {
      const before = await textOf(file);
      const after = edited(file, before, edits);
      t.not(after, before);
      t.notThrows(() => stripTypeScriptTypes(after));
    }
  });

test('a control changes nothing, a bug is to be found, and where the simulation has one of its own it is there', (t) => {
  for (const { name, edits, caughtAs } of controls) t.deepEqual([edits, caughtAs], [[], []], name);
  for (const { name, caughtAs, simulated } of bugs) {
    t.true(caughtAs.length > 0, name);
    if (simulated?.bug !== undefined)
      t.true(scenarios[simulated.scenario]!.bugs.includes(simulated.bug), `${name}: ${simulated.bug}`);
  }
});

test('names are unique, and an unknown one is told so', (t) => {
  const names = [...controls, ...bugs].map(({ name }) => name);
  t.is(new Set(names).size, names.length);
  t.throws(() => bugNamed('none'), { message: /No seeded bug "none"; there are: none-promotion/ });
});

test('text that is not there, or there twice, is no place for a bug', (t) => {
  const edit = { file: 'a.ts', find: 'x', put: 'y' };
  t.is(edited('a.ts', 'a x b', [edit]), 'a y b');
  t.is(edited('b.ts', 'a x b', [edit]), 'a x b');
  t.throws(() => edited('a.ts', 'a b', [edit]), { code: 'MUSTER_EDIT', message: /no place/ });
  t.throws(() => edited('a.ts', 'x x', [edit]), { code: 'MUSTER_EDIT', message: /more than one/ });
});

test('a process that is started with a bug has it, and one with a control has not', async (t) => {
  const code = `
    const { decidePayments } = await import(${JSON.stringify(pathToFileURL(join(checkout, 'workers/order/order.ts')).href)});
    const total = { amountMinor: 1, currency: 'KRW' };
    const order = { orderId: 'o', user: 'u', status: 'PENDING', lines: [{ productId: 'p', quantity: 3, unitAmountMinor: 1 }], total };
    const request = { orderId: 'o', amount: total, paymentId: 'y' };
    const { stock } = decidePayments({ orders: new Map([['o', order]]), stock: new Map([['p', 10]]) }, [request]);
    process.stdout.write(String(stock.get('p')));`;
  const stockLeft = async (bug: string) => {
    const args = ['--import', hookOf(bug), '--input-type=module', '--eval', code];
    return (await run(process.execPath, args)).stdout;
  };
  t.is(await stockLeft('stock-down-by-one'), '9');
  t.is(await stockLeft('none-orders'), '7');
});
