/** Grafana's colours. What depends on dark or light is a CSS variable of the page; see `styles` in page.ts. */

/** Lines, in order: Grafana's classic palette. */
const palette = [
  '#73bf69',
  '#f2cc0c',
  '#5794f2',
  '#ff780a',
  '#f2495c',
  '#b877d9',
  '#8ab8ff',
  '#ffa6b0',
  '#96d98d',
  '#705da0',
  '#ffee52',
  '#3274d9',
] as const;

export const lineColor = (index: number): string => palette[index % palette.length]!;

const named: Readonly<Record<string, { readonly line: string; readonly background: string }>> = {
  green: { line: '#73bf69', background: '#2b7a30' },
  yellow: { line: '#f2cc0c', background: '#8f7300' },
  orange: { line: '#ff9830', background: '#b3580a' },
  red: { line: '#f2495c', background: '#b81f33' },
  blue: { line: '#5794f2', background: '#2257a8' },
  purple: { line: '#b877d9', background: '#7c3fa3' },
  text: { line: '#8e8e98', background: '#4a4a52' },
};

/** For lines, bars and text. */
export const colorOf = (name: string): string => named[name]?.line ?? name;
/** Dark enough for white text on it. */
export const backgroundOf = (name: string): string => named[name]?.background ?? name;

/** What the page's theme decides. */
export const themed = {
  text: 'var(--muster-text-weak)',
  faint: 'var(--muster-line)',
  strong: 'var(--muster-text)',
} as const;
