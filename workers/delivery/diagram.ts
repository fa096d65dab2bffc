/** The machine of delivery orders as Markdown, for docs/delivery.md: a diagram and its table. Pure. */
import { type Row, rows, states } from './machine.ts';

const time = (ms: number) => (ms < 60_000 ? `${ms / 1_000} s` : `${ms / 60_000} min`);

export function renderMachine(): string {
  const arrows = rows.map(({ from, to, step, by }) => `  ${from} --> ${to}: ${step} (${by.join(', ')})`);
  const ends = states
    .filter((state) => rows.every(({ from }) => from !== state))
    .map((state) => `  ${state} --> [*]`);
  const cells = rows.map((row) => [
    `\`${row.step}\``,
    row.from,
    row.to,
    row.by.join(', '),
    conditionsOf(row).join('; '),
    effectsOf(row).join(', '),
    row.tells.join(', '),
  ]);
  const head = ['step', 'from', 'to', 'who may', 'when', 'what else', 'who is told'];
  return [
    '```mermaid',
    'stateDiagram-v2',
    '  [*] --> PLACED: place (customer)',
    ...arrows,
    ...ends,
    '```',
    '',
    ...[head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`),
    '',
  ].join('\n');
}

const conditionsOf = ({ when, after, within }: Row): readonly string[] => [
  ...(when === undefined ? [] : [when]),
  ...(after === undefined ? [] : [`the clock ${time(after.ms)} after it was ${after.moment}`]),
  ...(within === undefined
    ? []
    : [`within ${time(within.ms)} after it was ${within.moment}, the last millisecond included`]),
];

const effectsOf = ({ givesBack, rider }: Row): readonly string[] => [
  ...(givesBack ? ['money and stock go back'] : []),
  ...(rider === undefined ? [] : [`${rider} a rider`]),
];
