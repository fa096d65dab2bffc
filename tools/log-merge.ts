/** Lines of several containers in the order of time, and how one is shown. Pure. */
import { stripVTControlCharacters, styleText } from 'node:util';

export interface LogLine {
  readonly component: string;
  /** As the engine stamps it: RFC 3339 with nine digits, so text order is time order. */
  readonly time: string;
  readonly text: string;
}

/** Splits a line of `docker logs --timestamps`; undefined for a line without a stamp. */
export function parseLine(component: string, raw: string): LogLine | undefined {
  const space = raw.indexOf(' ');
  const time = space === -1 ? raw : raw.slice(0, space);
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time)) return undefined;
  return { component, time, text: space === -1 ? '' : raw.slice(space + 1) };
}

/** All lines by time; lines of one component with the same stamp keep their order. */
export function mergeByTime(lists: readonly (readonly LogLine[])[]): readonly LogLine[] {
  return lists.flat().sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

/** The moment after the newest of these lines, so that reading on shows none of them twice; undefined: no line. */
export function afterLast(lines: readonly LogLine[]): string | undefined {
  const newest = mergeByTime([lines]).at(-1)?.time;
  if (newest === undefined) return undefined;
  const [seconds = '', fraction = ''] = newest.slice(0, -1).split('.');
  const nanoseconds = Number(fraction.padEnd(9, '0')) + 1;
  // A line in the last nanosecond of a second is shown twice rather than that we carry over.
  return `${seconds}.${String(Math.min(nanoseconds, 999_999_999)).padStart(9, '0')}Z`;
}

/** The fields of a worker's JSON line; undefined for other programs' lines. */
export function fieldsOf(text: string): Readonly<Record<string, unknown>> | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const fields: unknown = JSON.parse(text);
    return typeof fields === 'object' && fields !== null ? (fields as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const colours = ['cyan', 'green', 'yellow', 'magenta', 'blue'] as const;
const ordinary = new Set(['message', 'level', 'ts', 'timestamp', 'process', 'worker', 'trace_id', 'span_id']);

/** The time that Kafka, ZooKeeper, MySQL, Redis, Jaeger and programs in Go begin their lines with: it is shown already. */
const ownStamp =
  /^(?:\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] |\d{4}-\d\d-\d\d[T ] ?\d{1,2}:\d\d:\d\d(?:[.,]\d+)?Z?\s|ts=\S+ |time="[^"]+" |\d+:[A-Z] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} )/;

/** A line for people: time of day, component, then text; a worker's JSON becomes `level message field=value`. */
export function showLine(
  line: LogLine,
  options: { readonly colour: boolean; readonly width: number; readonly index: number },
): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string =>
    options.colour ? styleText(format, text, { validateStream: false }) : text;
  const clock = line.time.slice(11, 23);
  const name = paint(colours[options.index % colours.length] ?? 'cyan', line.component.padEnd(options.width));
  const fields = fieldsOf(line.text);
  if (fields === undefined || typeof fields.message !== 'string') {
    const text = options.colour ? line.text : stripVTControlCharacters(line.text);
    return `${paint('dim', clock)} ${name} ${text.replace(ownStamp, '')}`;
  }
  const level = String(fields.level ?? 'info');
  const levelColour = level === 'error' ? 'red' : level === 'warn' ? 'yellow' : 'dim';
  const rest = Object.entries(fields)
    .filter(([key]) => !ordinary.has(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  if (typeof fields.trace_id === 'string') rest.push(`trace=${fields.trace_id}`);
  const tail = rest.length === 0 ? '' : ` ${paint('dim', rest.join(' '))}`;
  return `${paint('dim', clock)} ${name} ${paint(levelColour, level.padEnd(5))} ${fields.message}${tail}`;
}
