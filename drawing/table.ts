/** Tables and words for a terminal. Pure. */
import { styleText } from 'node:util';
import Table from 'cli-table3';

export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string;

/** Colours when asked for. */
export function painter(colour: boolean): Paint {
  return (format, text) => (colour ? styleText(format, text, { validateStream: false }) : text);
}

/** A table without inner lines, to be read by people and by awk alike. */
export function plainTable(head: readonly string[], rightAligned: readonly number[], paint: Paint) {
  const chars = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '' };
  const bottom = { bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' };
  const inner = {
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  return new Table({
    head: head.map((title) => paint('dim', title)),
    colAligns: head.map((_, index) => (rightAligned.includes(index) ? 'right' : 'left')),
    chars: { ...chars, ...bottom, ...inner },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
}

/** A table as text, without blanks at the ends of its lines. */
export function tableText(table: { toString(): string }): string {
  return table.toString().replaceAll(/ +$/gm, '');
}

/** `3 s`, `12 min`, `5 h 03 min`, `2 d 4 h`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
