/**
 * For integration tests: banks outside as a child process, membership as a server that says what it is told to, and a sender,
 * in this process or, to be killed, in a child: `node banking.fixture.ts '<JSON of SenderSpec>'`. Not part of the product.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DatabaseSettings } from '../base/config.ts';
import { emptyRegistry } from '../base/metrics.ts';
import { testLog } from '../kafka/testing.ts';
import { spawnWorkers } from '../platform/child.fixture.ts';
import { serverSettings } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import { createBanks } from './banks.ts';
import { requestStore } from './requests.ts';
import { startSender } from './sender.ts';
import type { Db } from './store.ts';

export async function spawnBanks() {
  const directory = mkdtempSync(join(tmpdir(), 'muster-banks-'));
  const child = await spawnWorkers(
    ['bank-stub'],
    { PROCESS_NAME: 'outside-world', BANK_STATE_DIRECTORY: directory },
    '/banks/sum',
  );
  async function ask(method: string, path: string, body?: object) {
    const response = await fetch(`${child.baseUrl}/banks${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    if (response.status >= 400 && response.status !== 404)
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    // biome-ignore lint/suspicious/noExplicitAny: an answer of any route
    return (await response.json()) as any;
  }
  return {
    start: child.start,
    kill: child.kill,
    url: () => `${child.baseUrl}/banks`,
    behave: (bank: string, behaviour: object) => ask('PUT', `/${bank}/behaviour`, behaviour),
    setAccount: (bank: string, accountNumber: string, body: object = {}) =>
      ask('PUT', `/${bank}/accounts/${accountNumber}`, body),
    balance: async (bank: string, accountNumber: string): Promise<number> =>
      (await ask('GET', `/${bank}/accounts/${accountNumber}`)).balanceMinor,
    transfer: (bank: string, id: string) => ask('GET', `/${bank}/transfers/${id}`),
    async statement(bank: string): Promise<{ transferId: string; state: string }[]> {
      const entries = [];
      for (let after = '0'; after !== undefined; ) {
        const page = await ask('GET', `/${bank}/statement?after=${after}`);
        entries.push(...page.entries);
        after = page.next;
      }
      return entries;
    },
    sum: async (): Promise<number> => (await ask('GET', '/sum')).sumMinor,
    async end() {
      await child.kill();
      rmSync(directory, { recursive: true });
    },
  };
}

/** Membership: `states` by member; a member that is not there is unknown. `broken`: it answers 500. */
export async function serveMembership(token: string) {
  const states = new Map<string, string>();
  const it = { states, broken: false, asked: 0, baseUrl: '', close: () => {} };
  const server = createServer((request, response) => {
    it.asked += 1;
    const memberId = decodeURIComponent(request.url!.split('/').at(-1)!);
    const state = states.get(memberId);
    const status =
      request.headers.authorization !== `Bearer ${token}`
        ? 401
        : it.broken
          ? 500
          : state === undefined
            ? 404
            : 200;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(status === 200 ? { memberId, type: 'PERSON', state, district: 'Gangnam-gu' } : {}),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  it.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  it.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return it;
}

export interface SenderSpec {
  readonly banksUrl: string;
  readonly timeoutMs: number;
}

/** Works on firm bankings until stopped; `clock`: the time that counts, the database's when unset. */
export function sendWith(db: Db, { banksUrl, timeoutMs }: SenderSpec, clock?: () => number) {
  const registry = emptyRegistry();
  const banks = createBanks({ baseUrl: banksUrl, timeoutMs, registry, leftAloneMs: 150 });
  const requests = requestStore({
    database: async () => db,
    timeZone: 'Asia/Seoul',
    ...(clock === undefined ? {} : { clock }),
  });
  const sender = startSender({ requests, banks, registry, log: testLog, leaseMs: 20_000, everyMs: 20 });
  return { ...sender, requests, banks, registry };
}

export function spawnSender(spec: SenderSpec, settings: DatabaseSettings): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(spec)], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, MYSQL_DATABASE: settings.MYSQL_DATABASE },
  });
}

if (import.meta.main)
  sendWith(openDatabase({ settings: serverSettings }), JSON.parse(process.argv[2]!) as SenderSpec);
