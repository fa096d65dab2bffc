import type { IncomingMessage } from 'node:http';
import test from 'ava';
import { checkHosts } from './hosts.ts';

const names = ['api', 'shop.example', '127.0.0.1'];
const code = (host: string, origin?: string) =>
  checkHosts(names)({ headers: { host, origin } } as IncomingMessage)?.code;

test('a host is one of our names, localhost or an address', (t) => {
  for (const host of ['api:8080', 'shop.example', 'localhost:1', '127.0.0.1:19080', '[::1]:80', '10.1.2.3'])
    t.is(code(host), undefined, host);
  for (const host of ['evil.example', 'api.evil.example', 'shop.example.evil'])
    t.is(code(host), 'MUSTER_HOST_UNKNOWN', host);
});

test('a page may call the host and port that it is from, and from the names of ours', (t) => {
  t.is(code('127.0.0.1:19080', 'http://127.0.0.1:19080'), undefined);
  t.is(code('api:8080', 'https://shop.example'), undefined);
  t.is(code('127.0.0.1:19080', 'http://evil.example'), 'MUSTER_ORIGIN_REFUSED');
  t.is(code('127.0.0.1:19080', 'null'), 'MUSTER_ORIGIN_REFUSED');
});

test('a page of another port of an address is foreign, also where the address is listed', (t) => {
  t.is(code('127.0.0.1:19080', 'http://127.0.0.1:4444'), 'MUSTER_ORIGIN_REFUSED');
  t.is(code('localhost:19080', 'http://localhost:4444'), 'MUSTER_ORIGIN_REFUSED');
});
