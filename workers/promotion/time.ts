/**
 * Times as people and machines write them -> UTC ms. Pure. Decisions where ISO-8601 leaves room:
 * - epoch seconds and ms are told apart by size (both only within the years 2000 to 2099, which do not overlap);
 * - what is finer than a ms is cut off, never rounded up into the next ms;
 * - 24:00:00 is the end of the day (the next day's 00:00:00); nothing else with hour 24 exists;
 * - a leap second (23:59:60 UTC on 30 June or 31 December) is the following second, as POSIX time counts;
 * - a time without an offset is in the environment's zone; when the zone's clock showed it twice or never (summer time),
 *   it is rejected, because either answer would be a guess;
 * - a date without a time is rejected.
 */

export type TimeProblem = 'form' | 'calendar' | 'range' | 'never' | 'twice';
export type ParsedTime = number | TimeProblem;

const minMs = Date.UTC(2000, 0, 1);
const maxMs = Date.UTC(2100, 0, 1);

const cumulativeDays = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function daysInMonth(year: number, month: number): number {
  return month === 2
    ? isLeapYear(year)
      ? 29
      : 28
    : month === 4 || month === 6 || month === 9 || month === 11
      ? 30
      : 31;
}

/** Days since 1970-01-01 of a valid Gregorian date from the year 1970 on. */
function epochDay(year: number, month: number, day: number): number {
  const y = year - 1;
  const leaps = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) - 477;
  const leapNow = month > 2 && isLeapYear(year) ? 1 : 0;
  return (year - 1970) * 365 + leaps + cumulativeDays[month - 1]! + leapNow + day - 1;
}

function two(text: string, at: number): number {
  const a = text.charCodeAt(at) - 48;
  const b = text.charCodeAt(at + 1) - 48;
  return a >= 0 && a <= 9 && b >= 0 && b <= 9 ? a * 10 + b : -1;
}

/**
 * UTC ms of a time in standard form (`2026-11-20T01:02:03.456Z`), NaN for anything else. About 50 ns: the hot path.
 */
export function parseUtcMs(text: string): number {
  if (
    text.length !== 24 ||
    text.charCodeAt(4) !== 45 ||
    text.charCodeAt(7) !== 45 ||
    text.charCodeAt(10) !== 84 ||
    text.charCodeAt(13) !== 58 ||
    text.charCodeAt(16) !== 58 ||
    text.charCodeAt(19) !== 46 ||
    text.charCodeAt(23) !== 90
  )
    return Number.NaN;
  const century = two(text, 0);
  const yearOfCentury = two(text, 2);
  const month = two(text, 5);
  const day = two(text, 8);
  const hour = two(text, 11);
  const minute = two(text, 14);
  const second = two(text, 17);
  const centi = two(text, 20);
  const milli = text.charCodeAt(22) - 48;
  if (century !== 20 || yearOfCentury < 0 || month < 1 || month > 12 || day < 1) return Number.NaN;
  const year = 2000 + yearOfCentury;
  if (day > 28 && day > daysInMonth(year, month)) return Number.NaN;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return Number.NaN;
  if (centi < 0 || milli < 0 || milli > 9) return Number.NaN;
  return (
    epochDay(year, month, day) * 86_400_000 +
    hour * 3_600_000 +
    minute * 60_000 +
    second * 1000 +
    centi * 10 +
    milli
  );
}

const isoTime =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s?([Zz]|[+-]\d{2}(?::?\d{2})?))?$/;
const epochTime = /^(\d{9,13})(?:\.(\d{1,9}))?$/;

/**
 * UTC ms of a time given as a JSON number (epoch s or ms) or a string (the same, or ISO-8601), or what is wrong with it.
 * `timeZone` is an IANA name.
 */
export function parseTime(raw: number | string, timeZone: string): ParsedTime {
  // A number goes by its shortest decimal form, so that a fraction is cut off exactly.
  const text = typeof raw === 'number' ? String(raw) : raw.trim();
  const epoch = epochTime.exec(text);
  if (epoch !== null) return fromEpoch(epoch[1]!, epoch[2]);
  if (typeof raw === 'number') return Number.isFinite(raw) ? 'range' : 'form';
  if (/^-?\d+$/.test(text)) return 'range';
  const match = isoTime.exec(text);
  if (match === null) return 'form';
  const year = Number(match[1]);
  const month = Number(match[2]);
  const day = Number(match[3]);
  const hour = Number(match[4]);
  const minute = Number(match[5]);
  const second = match[6] === undefined ? 0 : Number(match[6]);
  const ms = match[7] === undefined ? 0 : Number(match[7].slice(0, 3).padEnd(3, '0'));
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return 'calendar';
  if (minute > 59 || second > 60) return 'calendar';
  if (hour > 24 || (hour === 24 && (minute > 0 || second > 0 || /[1-9]/.test(match[7] ?? ''))))
    return 'calendar';
  if (year < 1970 || year > 2200) return 'range';
  const wall =
    epochDay(year, month, day) * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
  const offset = match[8];
  const utc = offset === undefined ? fromWallClock(wall, timeZone) : fromOffset(wall, offset);
  if (typeof utc !== 'number') return utc;
  if (second === 60 && !isAfterLeapSecond(utc)) return 'calendar';
  return utc >= minMs && utc < maxMs ? utc : 'range';
}

function fromEpoch(whole: string, fraction = ''): ParsedTime {
  const value = Number(whole);
  if (value >= minMs && value < maxMs) return value;
  const ms = value * 1000 + Number(fraction.slice(0, 3).padEnd(3, '0'));
  return ms >= minMs && ms < maxMs ? ms : 'range';
}

function fromOffset(wall: number, offset: string): ParsedTime {
  if (offset === 'Z' || offset === 'z') return wall;
  const hours = Number(offset.slice(1, 3));
  const minutes = offset.length > 3 ? Number(offset.slice(-2)) : 0;
  // The widest offsets in use are -12:00 and +14:00.
  if (minutes > 59 || hours * 60 + minutes > 14 * 60) return 'calendar';
  const shift = (hours * 60 + minutes) * 60_000;
  return offset.startsWith('-') ? wall + shift : wall - shift;
}

function isAfterLeapSecond(utc: number): boolean {
  const at = new Date(utc);
  const day = at.getUTCDate();
  const month = at.getUTCMonth();
  return (
    day === 1 &&
    (month === 0 || month === 6) &&
    at.getUTCHours() === 0 &&
    at.getUTCMinutes() === 0 &&
    at.getUTCSeconds() === 0
  );
}

/** An instant whose wall clock in the zone reads `wall` (counted as if it were UTC). */
function fromWallClock(wall: number, timeZone: string): ParsedTime {
  // Any transition near it lies between a day before and a day after, so these two offsets are all candidates.
  const before = zoneOffsetMs(wall - 86_400_000, timeZone);
  const after = zoneOffsetMs(wall + 86_400_000, timeZone);
  const first = wall - before;
  const firstHolds = zoneOffsetMs(first, timeZone) === before;
  if (before === after) return firstHolds ? first : 'never';
  const second = wall - after;
  const secondHolds = zoneOffsetMs(second, timeZone) === after;
  if (firstHolds && secondHolds) return 'twice';
  return firstHolds ? first : secondHolds ? second : 'never';
}

const formatters = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();
const quarterMs = 900_000;

/** Offset of a zone at an instant, in ms. Transitions since 2000 fall on quarter hours, so it is cached by these. */
function zoneOffsetMs(utc: number, timeZone: string): number {
  const quarter = Math.floor(utc / quarterMs);
  const key = `${timeZone}|${quarter}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formatters.set(timeZone, formatter);
  }
  const at = quarter * quarterMs;
  const parts: Record<string, number> = {};
  for (const part of formatter.formatToParts(at)) parts[part.type] = Number(part.value);
  const wall = Date.UTC(parts.year!, parts.month! - 1, parts.day!, parts.hour!, parts.minute!, parts.second!);
  if (offsets.size > 20_000) offsets.clear();
  offsets.set(key, wall - at);
  return wall - at;
}
