/**
 * ISO-4217: the codes in use and their exponents (digits after the decimal point). Own table, because what Intl gives
 * follows CLDR, which differs from the standard for some (IQD, LBP, AFN ...): money needs the standard.
 */
const codes =
  'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF ' +
  'CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL ' +
  'HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL ' +
  'MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON ' +
  'RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH ' +
  'UGX USD UYU UYW UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG';
const exponentZero = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'.split(' ');
const exponentThree = 'BHD IQD JOD KWD LYD OMR TND'.split(' ');
const exponentFour = 'CLF UYW'.split(' ');

/** Code -> exponent of every known currency. */
export const currencyExponents: ReadonlyMap<string, 0 | 2 | 3 | 4> = new Map(
  codes
    .split(' ')
    .map((code) => [
      code,
      exponentZero.includes(code)
        ? 0
        : exponentThree.includes(code)
          ? 3
          : exponentFour.includes(code)
            ? 4
            : 2,
    ]),
);

/**
 * What a sign or unit beside an amount means. `alone` is the currency when no code is given (undefined: the sign is
 * shared and says nothing alone); `family` the codes that it may stand beside.
 */
export const currencySigns: ReadonlyMap<
  string,
  { readonly alone?: string; readonly family: readonly string[] }
> = new Map([
  ['₩', { alone: 'KRW', family: ['KRW', 'KPW'] }],
  ['원', { alone: 'KRW', family: ['KRW', 'KPW'] }],
  [
    '$',
    {
      alone: 'USD',
      family:
        'USD AUD BBD BMD BND BSD BZD CAD CLP COP DOP FJD GYD HKD JMD KYD LRD MXN NAD NZD SBD SGD SRD TTD TWD XCD ARS'.split(
          ' ',
        ),
    },
  ],
  ['US$', { alone: 'USD', family: ['USD'] }],
  ['A$', { alone: 'AUD', family: ['AUD'] }],
  ['C$', { alone: 'CAD', family: ['CAD'] }],
  ['HK$', { alone: 'HKD', family: ['HKD'] }],
  ['NT$', { alone: 'TWD', family: ['TWD'] }],
  ['S$', { alone: 'SGD', family: ['SGD'] }],
  ['€', { alone: 'EUR', family: ['EUR'] }],
  ['£', { alone: 'GBP', family: ['GBP', 'EGP', 'GIP', 'FKP', 'SHP', 'LBP', 'SYP'] }],
  ['¥', { family: ['JPY', 'CNY'] }],
  ['円', { alone: 'JPY', family: ['JPY'] }],
  ['元', { alone: 'CNY', family: ['CNY'] }],
  ['₫', { alone: 'VND', family: ['VND'] }],
  ['₹', { alone: 'INR', family: ['INR'] }],
  ['฿', { alone: 'THB', family: ['THB'] }],
  ['₽', { alone: 'RUB', family: ['RUB'] }],
  ['₱', { alone: 'PHP', family: ['PHP'] }],
  ['₺', { alone: 'TRY', family: ['TRY'] }],
  ['₪', { alone: 'ILS', family: ['ILS'] }],
  ['₴', { alone: 'UAH', family: ['UAH'] }],
]);
