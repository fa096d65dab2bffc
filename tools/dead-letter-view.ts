/** How a dead letter is shown: whole and raw only when asked for, else with everything personal masked. Pure. */

/** Fields whose value may be shown as it is: they say nothing about a person. */
const harmless = new Set([
  'promotionId',
  'promotion_id',
  'productId',
  'product_id',
  'productName',
  'product_name',
  'quantity',
  'qty',
  'price',
  'amount',
  'currency',
  'action',
  'purchasedAt',
  'purchased_at',
  'actedAt',
  'acted_at',
  'timestamp',
  'ts',
]);

/**
 * A value with everything that could be personal replaced by its kind and length. Only JSON objects show anything:
 * of bytes that are not understood nobody can say what they hold.
 */
export function maskedValue(value: Buffer | null): string {
  if (value === null) return 'no value (tombstone)';
  let parsed: unknown;
  try {
    parsed = JSON.parse(value.toString('utf8'));
  } catch {
    return `${value.length} bytes that are no JSON`;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return `${value.length} bytes, JSON ${Array.isArray(parsed) ? 'array' : typeof parsed}`;
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(parsed).map(([name, field]) => [
        // A name that we do not know may itself be data.
        /^[A-Za-z_][A-Za-z0-9_-]{0,40}$/.test(name) && !/\d{6,}/.test(name) ? name : '(odd name)',
        harmless.has(name) && (typeof field !== 'object' || field === null) && !looksPersonal(field)
          ? field
          : masked(field),
      ]),
    ),
  );
}

/** Long runs of digits (cards, phones) and addresses hide in free text. */
function looksPersonal(field: unknown): boolean {
  const text = String(field);
  return text.length > 60 || /@/.test(text) || text.replaceAll(/[ -]/g, '').match(/\d{14,}/) !== null;
}

function masked(field: unknown): string {
  if (typeof field === 'string') return `(text, ${field.length})`;
  if (typeof field === 'number') return '(number)';
  if (Array.isArray(field)) return `(list, ${field.length})`;
  return field === null ? '(null)' : `(${typeof field})`;
}

/** Bytes as text where they are text, else as hexadecimal. */
export function rawText(bytes: Buffer | null): string {
  if (bytes === null) return 'null';
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : `0x${bytes.toString('hex')}`;
}
