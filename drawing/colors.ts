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
  yellow: { line: '#f2cc0c', background: '#b08d00' },
  orange: { line: '#ff9830', background: '#c4620c' },
  red: { line: '#f2495c', background: '#b81f33' },
  blue: { line: '#5794f2', background: '#2257a8' },
  purple: { line: '#b877d9', background: '#7c3fa3' },
  text: { line: '#8e8e98', background: '#4a4a52' },
};

/** For lines, bars and text. */
export const colorOf = (name: string): string => named[name]?.line ?? name;
/** Dark enough for white text on it. */
export const backgroundOf = (name: string): string => named[name]?.background ?? name;

/** Written into charts in place of what the page's theme decides. */
export const themed = { text: '#010101', faint: '#010102', panel: '#010103', strong: '#010104' } as const;

const variables: Readonly<Record<string, string>> = {
  [themed.text]: 'var(--muster-text-weak)',
  [themed.faint]: 'var(--muster-line)',
  [themed.panel]: 'var(--muster-panel)',
  [themed.strong]: 'var(--muster-text)',
};

/** Puts the page's variables where a chart has a themed colour. */
export function themedSvg(svg: string): string {
  return svg.replaceAll(/#01010[1-4]/g, (color) => variables[color]!);
}
