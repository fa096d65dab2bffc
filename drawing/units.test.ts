import test from 'ava';
import { units } from '../dashboards/kit.ts';
import { format } from '../workers/views/units.ts';

test('numbers look as they do in Grafana', (t) => {
  for (const [value, unit, decimals, text] of [
    [3, 'none', undefined, '3'],
    [0.123456, 'none', undefined, '0.123'],
    [-0.0001, 'none', 1, '0.0'],
    [1234, 'short', undefined, '1.23 K'],
    [5_000_000, 'short', undefined, '5 Mil'],
    [0.9995, 'percentunit', 3, '99.950%'],
    [1, 'percentunit', undefined, '100%'],
    [0.0123, 's', undefined, '12.3 ms'],
    [0.0000045, 's', undefined, '4.50 µs'],
    [90, 's', undefined, '1.50 mins'],
    [7200, 's', undefined, '2 hours'],
    [0, 's', undefined, '0 s'],
    [250, 'ms', undefined, '250 ms'],
    [2500, 'ms', undefined, '2.50 s'],
    [1536, 'bytes', undefined, '1.50 KiB'],
    [2_500_000, 'Bps', undefined, '2.50 MB/s'],
    [23.456, 'mps', undefined, '23.5 msg/s'],
    [1200, 'reqps', undefined, '1.20K req/s'],
    [0, 'ops', undefined, '0 ops/s'],
    [Number.NaN, 's', undefined, 'NaN'],
    [Number.POSITIVE_INFINITY, 's', undefined, '+Inf'],
  ] as const)
    t.is(format(value, unit, decimals), text);
});

test('every unit that a dashboard may use can be written', (t) => {
  for (const unit of units) t.notThrows(() => format(1234.5, unit));
  t.throws(() => format(1, 'furlongs'), { message: /furlongs/ });
});
