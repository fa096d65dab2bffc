/** What verbs say on a terminal, and how they read what was typed. */
import { styleText } from 'node:util';
import type { Paint } from '../drawing/table.ts';
import { MusterError } from '../workers/base/errors.ts';

/** Whether colours are wanted. */
export const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;

export const paint: Paint = (format, text) =>
  colour ? styleText(format, text, { validateStream: false }) : text;

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** For programs. */
export function sayJson(value: unknown): void {
  say(JSON.stringify(value, null, 2));
}

/** An error of whoever typed the command line. */
export const usage = (message: string): MusterError => new MusterError('MUSTER_USAGE', message);

/** The number of an option, e.g. `--limit`. Throws MUSTER_USAGE unless it is above 0 and, if not said otherwise, whole. */
export function numberOf(option: string, text: string, { whole = true } = {}): number {
  const value = Number(text);
  if (value > 0 && (whole ? Number.isInteger(value) : Number.isFinite(value))) return value;
  throw usage(`${option} takes a ${whole ? 'whole ' : ''}number above 0, not "${text}".`);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

/** `30s`, `5m`, `1h`, `250ms`; a bare number is seconds. Throws MUSTER_USAGE. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?$/.exec(text.trim());
  if (match === null || Number(match[1]) === 0) throw usage(`"${text}" is no duration; write 30s, 5m or 1h.`);
  return Math.round(Number(match[1]) * unitMs[match[2] ?? 's']!);
}

/** For a command that somebody is told to run: `--env ci `, nothing for the environment that is meant anyway. */
export const environmentFlag = ({ name }: { readonly name: string }): string =>
  name === 'dev' ? '' : `--env ${name} `;

/** A text whose commands name the environment that it is about: whoever throws an error seldom knows it. */
export const withEnvironment = (text: string, environment: { readonly name: string }): string =>
  text.replaceAll(/\.\/muster (?=[a-z])/g, `./muster ${environmentFlag(environment)}`);
