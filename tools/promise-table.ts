/** What `./muster promises` and `./muster status` print of promises, from what the worker says. Pure. */
import { promises } from '../catalog/promises.ts';
import { age, painter, plainTable, tableText } from '../drawing/table.ts';
import type { ToldPromise } from '../environment/promises.ts';

/** What is wrong, a line each with the command that shows more; empty only when each promise of the catalog holds. */
export function promiseProblems(told: readonly ToldPromise[] | Error): readonly string[] {
  if (told instanceof Error) return [`promises are not checked: ${told.message}`];
  const byName = new Map(told.map((one) => [one.name, one]));
  return promises.flatMap(({ name }) => {
    const one = byName.get(name);
    if (one === undefined) return [`promise ${name} is not checked: the worker does not know it`];
    const { status, broken, ids, why } = one;
    if (status === 'holds') return [];
    const found = `${broken === 1 ? 'once' : `${broken} times`} (${ids[0] ?? ''}${broken > 1 ? ', …' : ''})`;
    const more = `: ./muster promises ${name}`;
    if (status === 'broken') return [`promise ${name} is broken ${found}${more}`];
    const last = broken > 0 ? `; it was broken ${found}` : '';
    return [`promise ${name} is not checked, ${why ?? 'nobody knows why'}${last}${more}`];
  });
}

/** How many hold, for a line of `./muster status`. */
export function promiseLine(told: readonly ToldPromise[] | Error): string {
  const holding = told instanceof Error ? [] : told.filter(({ status }) => status === 'holds');
  return `${holding.length} of ${promises.length} checked and hold`;
}

/** The table, and the ids and reasons below it. */
export function renderPromises(told: readonly ToldPromise[], nowMs: number, colour: boolean): string {
  const paint = painter(colour);
  const tones = { holds: 'green', broken: 'red', 'not checked': 'yellow' } as const;
  const ago = (iso: string | null) => (iso === null ? '' : age(Math.max(0, nowMs - Date.parse(iso))));
  const table = plainTable(
    ['', 'promise', 'state', 'broken', 'since', 'checked', 'what is promised'],
    [3, 4, 5],
    paint,
  );
  for (const { name, status, broken, brokenSince, checkedAt, promised } of told)
    table.push([
      paint(tones[status], status === 'holds' ? '●' : '✖'),
      name,
      paint(tones[status], status),
      broken === 0 ? '' : String(broken),
      ago(brokenSince),
      ago(checkedAt),
      promised,
    ]);
  const details = told.flatMap(({ name, status, ids, why, runbook }) =>
    status === 'holds'
      ? []
      : [
          '',
          `${name}: ${runbook}`,
          ...(why === null ? [] : [`  not checked: ${why}`]),
          ...ids.map((id) => `  ${id}`),
        ],
  );
  return [tableText(table), ...details].join('\n');
}

/** The promises as a Markdown table, for docs/promises.md. */
export function renderPromiseDocs(): string {
  const time = (ms: number) => (ms === 0 ? 'at once' : `${ms / 1_000} s`);
  const rows = promises.map(({ name, promised, limitMs, periodMs, ids }) => [
    `\`${name}\``,
    promised,
    time(limitMs),
    time(periodMs),
    ids,
  ]);
  const head = ['promise', 'what is promised', 'broken after', 'checked every', 'its ids are of'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
