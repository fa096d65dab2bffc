/** Account numbers, as people write them and as banks read them. Pure. */

/** As its bank is asked for it: in usual letters and digits, with hyphens where there are dashes, without spaces. Undefined: it is none. */
export function readAccountNumber(written: string): string | undefined {
  const number = written
    .replace(/[\uff01-\uff5e]/g, (fullWidth) => String.fromCharCode(fullWidth.charCodeAt(0) - 0xfee0))
    .replace(/[\p{Pd}\u2212]/gu, '-')
    .replace(/\s/gu, '');
  return /^[A-Za-z0-9-]{4,34}$/.test(number) ? number : undefined;
}

/** What all spellings of a number have in common: banks pass over hyphens, and fill up with zeros. `open_plain` of the store is the same. */
export const plainNumber = (accountNumber: string): string =>
  accountNumber.replaceAll('-', '').toUpperCase().replace(/^0+/, '');
