/** Numbers as Grafana writes them, for the units that our dashboards use. Pure. */

/** Digits after the point: about three digits in all, none for a whole number. As Grafana chooses them. */
function decimalsFor(value: number): number {
  if (value === 0 || Number.isInteger(value)) return 0;
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const decimals = 1 - magnitude;
  // 2.5 needs one more than 2.
  return Math.min(6, Math.max(0, Math.abs(value) / 10 ** -decimals > 2.25 ? decimals + 1 : decimals));
}

function fixed(value: number, decimals: number | undefined): string {
  const text = value.toFixed(decimals ?? decimalsFor(value));
  return Number(text) === 0 ? text.replace('-', '') : text;
}

/** Divides by `step` until the number is small, and names the result. */
function scaled(value: number, step: number, names: readonly string[], decimals: number | undefined): string {
  let index = 0;
  let rest = value;
  while (Math.abs(rest) >= step && index < names.length - 1) {
    rest /= step;
    index += 1;
  }
  return `${fixed(rest, decimals)}${names[index]}`;
}

const durations: readonly (readonly [seconds: number, name: string])[] = [
  [31_536_000, 'years'],
  [604_800, 'weeks'],
  [86_400, 'days'],
  [3_600, 'hours'],
  [60, 'mins'],
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
];

function seconds(value: number, decimals: number | undefined): string {
  if (value === 0) return '0 s';
  const [size, name] = durations.find(([size]) => Math.abs(value) >= size) ?? [1e-9, 'ns'];
  return `${fixed(value / size, decimals)} ${name}`;
}

const counts = ['', ' K', ' Mil', ' Bil', ' Tri'];
const perSecond: Readonly<Record<string, string>> = { mps: 'msg/s', reqps: 'req/s', ops: 'ops/s' };

/**
 * The value with its unit, e.g. `12.3 ms`; `decimals` undefined: as many as are worth reading.
 * Throws a RangeError for a unit that it does not know.
 */
export function format(value: number, unit: string, decimals?: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  switch (unit) {
    case 'none':
      return fixed(value, decimals);
    case 'short':
      return scaled(value, 1000, counts, decimals);
    case 'percentunit':
      return `${fixed(value * 100, decimals)}%`;
    case 's':
      return seconds(value, decimals);
    case 'ms':
      return seconds(value / 1000, decimals);
    case 'bytes':
      return scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB'], decimals);
    case 'Bps':
      return scaled(value, 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s', ' TB/s'], decimals);
  }
  const name = perSecond[unit];
  if (name === undefined) throw new RangeError(`unknown unit ${unit}`);
  return scaled(value, 1000, [` ${name}`, `K ${name}`, `M ${name}`], decimals);
}
