import test from 'ava';
import { plainNumber, readAccountNumber } from './account-number.ts';

test('spaces, dashes of all kinds and full-width characters are read as what they stand for; what is no number is none', (t) => {
  const spellings = [
    '110-123-4567',
    ' 110 - 123 - 4567 ',
    '110–123—4567',
    '１１０－１２３－４５６７',
    '110−123‐4567',
  ];
  for (const written of spellings) t.is(readAccountNumber(written), '110-123-4567', written);
  t.is(readAccountNumber('ｋｒ１２ 0001'), 'kr120001');
  for (const written of ['', '123', '12 3', '1'.repeat(35), '110_123', '110²', '①②③④', '110\u0000123'])
    t.is(readAccountNumber(written), undefined, written);
});

test('however a number is spelled it is one number; another one is not', (t) => {
  for (const spelling of ['110-1234', '1101234', '11-01234', '0110-1234', '000-1101234'])
    t.is(plainNumber(spelling), '1101234');
  t.is(plainNumber('kr12-ab'), plainNumber('KR12AB'));
  t.not(plainNumber('1101234'), plainNumber('11012340'));
});
