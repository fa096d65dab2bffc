/** Photos of complaints over HTTP, on a real MySQL or MariaDB (MYSQL_*) and a real folder. */
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { tables } from '../../catalog/tables.ts';
import { NotNowError } from '../base/errors.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { callerOf, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { noise, readJpeg } from '../platform/pictures.fixture.ts';
import type { WorkerDeps } from '../platform/worker.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { type FileStore, folderStore } from '../store/files.ts';
import { cleanTable } from '../store/retention.ts';
import { photoStore } from './photos.ts';
import { registerDeliveryRoutes } from './routes.ts';
import { shopStore } from './shops.ts';
import { deliveryStore } from './store.ts';
import { photos as worker } from './worker.ts';

const key = Buffer.alloc(32, 7);
let db: Kysely<unknown>;
let settings: Awaited<ReturnType<typeof scratchDatabase>>['settings'];
let store: ReturnType<typeof deliveryStore>;
let url: string;
let as: ReturnType<typeof callerOf>;
let close: () => Promise<void> = async () => {};
const folder = await mkdtemp(join(tmpdir(), 'photos-'));

test.before(async (t) => {
  t.timeout(60_000);
  const scratch = await scratchDatabase('delivery_photos', 'delivery');
  ({ db, settings } = scratch);
  const database = async () => db;
  store = deliveryStore({ database });
  const http = await startTestHttp({ processName: 'delivery', log: testLog });
  registerDeliveryRoutes(http.app as never, {
    shops: shopStore({ database }),
    deliveries: store,
    pseudonymKey: key,
    onChanged: () => {},
  });
  const running = await startPhotos(http, folder);
  await http.open();
  url = `http://127.0.0.1:${http.address().port}/delivery`;
  as = callerOf(http, '/delivery');
  close = async () => {
    await running.stop();
    await http.close(100);
    await scratch.drop();
    await rm(folder, { recursive: true });
  };
});
/** The worker, with its files in a folder. */
const startPhotos = (http: Awaited<ReturnType<typeof startTestHttp>>, folder: string) =>
  worker.start({
    ...{ config: { UPLOADS_DIRECTORY: folder, MYSQL_DATABASE: 'none' }, http: http.app },
    ...{ database: async () => db, log: testLog, metrics: createRegistry() },
    secrets: { pseudonymKey: key },
  } as unknown as WorkerDeps<{ UPLOADS_DIRECTORY: string; MYSQL_DATABASE: string }>);
test.after.always(() => close());
test.beforeEach((t) => t.timeout(60_000));

let run = 0;
/** An order that was just delivered, and who it is of. */
async function delivered() {
  run += 1;
  const [customer, owner, rider] = await Promise.all(
    (['customer', 'owner', 'rider'] as const).map((role) => tokenOf(role, `${role}-${run}`)),
  );
  const who = (role: string) => pseudonym(key, `${role}-${run}`);
  const call = () => ({ scope: 'delivery:test', key: `${Math.random()}`, body: '' });
  const shops = shopStore({ database: async () => db });
  const shopId = await shops.openShop(who('owner'), 'Noodles');
  const price = { amountMinor: 9_000, currency: 'KRW' } as const;
  const item = await shops.addItem(who('owner'), shopId, { name: 'Udon', price, stock: 9 });
  const { itemId } = item as { itemId: string };
  const district = `d${run}`;
  await store.setRider(who('rider'), district, 'FREE');
  const placed = await store.place({ customer: who('customer'), itemId, quantity: 1, district }, call());
  const { orderId } = placed as { orderId: string };
  for (const step of ['accept', 'cook', 'call'] as const)
    await store.step(orderId, { role: 'owner', who: who('owner') }, { step }, call());
  await store.takeDue(1, 'calls');
  await store.step(orderId, { role: 'rider', who: who('rider') }, { step: 'deliver' }, call());
  return { orderId, customer: customer!, owner: owner!, rider: rider!, who };
}

async function send(token: string, orderId: string, bytes: Uint8Array, name = 'a.jpg', at = url) {
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(bytes)], { type: 'image/jpeg' }), name);
  const answer = await fetch(`${at}/orders/${orderId}/photos`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body,
  });
  // biome-ignore lint/suspicious/noExplicitAny: an answer, or an error
  const json = (await answer.json()) as any;
  const again = answer.headers.get('retry-after');
  return { status: answer.status, photoId: json.photoId as string, code: json.error?.code as string, again };
}
const see = (token: string, orderId: string, photoId: string, at = url) =>
  fetch(`${at}/orders/${orderId}/photos/${photoId}`, { headers: { authorization: `Bearer ${token}` } });

const picture = () => noise(64, 48).jpeg({ quality: 90 }).toBuffer();
const rowsOf = async (orderId: string) => {
  const { rows } = await sql<{ n: number }>`
    SELECT COUNT(*) AS n FROM delivery_photo WHERE order_id = ${bytesOfUuid(orderId)}`.execute(db);
  return Number(rows[0]!.n);
};
const filesOf = () => readdir(join(folder, 'files'));

test('a photo goes with a complaint, and who is of the order sees it, made anew', async (t) => {
  const { orderId, customer, owner, rider } = await delivered();
  const { status, photoId } = await send(customer, orderId, await picture(), '../../evil.php');
  t.is(status, 201);
  const complaint = { wanted: 'REFUND', complaint: 'cold', photoId };
  const asked = await as(customer)('POST', `/orders/${orderId}/refund-request`, complaint, 'complaint-1');
  t.is(asked.json.state, 'REFUND_REQUESTED');
  t.deepEqual(
    (await as(customer)('POST', `/orders/${orderId}/refund-request`, complaint, 'complaint-1')).json,
    asked.json,
  );
  const staff = await tokenOf('operator', 'o');
  for (const token of [customer, owner, staff]) {
    t.is((await as(token)('GET', `/orders/${orderId}`)).json.photoId, photoId);
    const answer = await see(token, orderId, photoId);
    t.is(answer.status, 200);
    t.is(answer.headers.get('content-type'), 'image/jpeg');
    t.is(answer.headers.get('x-content-type-options'), 'nosniff');
    const { width, height, behind } = readJpeg(Buffer.from(await answer.arrayBuffer()));
    t.deepEqual([width, height, behind], [64, 48, 0]);
  }
  t.is((await as(rider)('GET', `/orders/${orderId}`)).json.photoId, undefined);
  t.is((await see(rider, orderId, photoId)).status, 403);
  t.is((await see('', orderId, photoId)).status, 401);
  const others = await delivered();
  for (const token of [others.customer, others.owner]) {
    t.is((await see(token, orderId, photoId)).status, 404);
    t.is((await see(token, others.orderId, photoId)).status, 404, 'under an order of theirs');
  }
});

test('a refund without a photo is not asked for, and the answer names what is missing', async (t) => {
  const { orderId, customer } = await delivered();
  const answer = await as(customer)('POST', `/orders/${orderId}/refund-request`, {
    wanted: 'REFUND',
    complaint: 'cold',
  });
  t.is(`${answer.status} ${answer.code}`, '422 MUSTER_VALIDATION');
  t.is(answer.json.error.details[0].field, 'photoId');
  t.is((await store.find(orderId))?.state, 'DELIVERED');
});

test('a photo of another order is none of this one, and nothing changes', async (t) => {
  const [one, other] = [await delivered(), await delivered()];
  const { photoId } = await send(other.customer, other.orderId, await picture());
  const complaint = { wanted: 'REFUND', complaint: 'cold', photoId };
  const answer = await as(one.customer)('POST', `/orders/${one.orderId}/refund-request`, complaint);
  t.is(`${answer.status} ${answer.code}`, '422 MUSTER_PHOTO_UNKNOWN');
  t.is((await store.find(one.orderId))?.state, 'DELIVERED');
});

test('the same file sent again, or twice at once, is one photo', async (t) => {
  const { orderId, customer } = await delivered();
  const bytes = await picture();
  const twice = await Promise.all([send(customer, orderId, bytes), send(customer, orderId, bytes, 'b.png')]);
  const again = await send(customer, orderId, bytes);
  t.is(new Set([...twice, again].map(({ photoId }) => photoId)).size, 1);
  t.deepEqual(
    [...twice, again].map(({ status }) => status),
    [201, 201, 201],
  );
  t.is(await rowsOf(orderId), 1);
  t.is((await filesOf()).filter((name) => name === again.photoId).length, 1);
});

test('five photos at once after two: an order keeps five', async (t) => {
  const { orderId, customer } = await delivered();
  const some = (length: number) =>
    Promise.all(Array.from({ length }, async () => send(customer, orderId, await picture())));
  const sent = [...(await some(2)), ...(await some(5))];
  t.deepEqual(sent.map(({ status, code }) => code ?? status).sort(), [
    ...Array(5).fill(201),
    ...Array(2).fill('MUSTER_PHOTOS_TOO_MANY'),
  ]);
  t.is(await rowsOf(orderId), 5);
  const kept = await filesOf();
  for (const { photoId, status } of sent) t.is(kept.includes(photoId), status === 201);
});

test('who may not ask for a refund may not send a photo', async (t) => {
  const one = await delivered();
  const stranger = await tokenOf('customer', 'stranger');
  const bytes = await picture();
  t.is((await send(stranger, one.orderId, bytes)).code, 'MUSTER_DELIVERY_ORDER_UNKNOWN');
  t.is((await send(one.owner, one.orderId, bytes)).code, 'MUSTER_FORBIDDEN');
  t.is((await send(one.rider, one.orderId, bytes)).code, 'MUSTER_FORBIDDEN');
  const shift = (ms: number) =>
    sql`
    UPDATE delivery_order SET delivered_at = UTC_TIMESTAMP(3) - INTERVAL ${ms * 1_000} MICROSECOND
    WHERE order_id = ${bytesOfUuid(one.orderId)}`.execute(db);
  await shift(600_001);
  t.is((await send(one.customer, one.orderId, bytes)).code, 'MUSTER_REFUND_TOO_LATE');
  await shift(0);
  const { photoId } = await send(one.customer, one.orderId, bytes);
  const complaint = { wanted: 'REFUND', complaint: 'x', photoId };
  await as(one.customer)('POST', `/orders/${one.orderId}/refund-request`, complaint);
  t.is((await send(one.customer, one.orderId, bytes)).code, 'MUSTER_STEP_IMPOSSIBLE');
  t.is(await rowsOf(one.orderId), 1);
});

test('what is no photo leaves nothing', async (t) => {
  const { orderId, customer } = await delivered();
  for (const bytes of [
    Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'),
    Buffer.from('GIF89a'),
    Buffer.alloc(0),
  ])
    t.is((await send(customer, orderId, bytes)).code, 'MUSTER_PHOTO_UNREADABLE');
  t.is((await send(customer, orderId, Buffer.alloc(50_000_000))).status, 413);
  t.is(await rowsOf(orderId), 0);
  t.deepEqual(await readdir(join(folder, 'incoming')), []);
});

test('a photo whose file could not be kept is none until it is sent again', async (t) => {
  const { orderId, customer, who } = await delivered();
  const kept = new Map<string, Uint8Array>();
  let isFull = true;
  const files: FileStore = {
    async put(name, bytes) {
      if (isFull) throw new NotNowError('MUSTER_FILE_STORE_REFUSES', 'full');
      kept.set(name, bytes);
    },
    get: async () => undefined,
    remove: async () => {},
  };
  const photos = photoStore({ database: async () => db, files });
  let made = 0;
  const add = () =>
    photos.add(orderId, who('customer'), 'hash', async () => {
      made += 1;
      return Buffer.from('a');
    });
  t.is((await t.throwsAsync(add(), { instanceOf: NotNowError }))?.code, 'MUSTER_FILE_STORE_REFUSES');
  const [{ photo_id }] = (
    await sql<{ photo_id: Buffer }>`
    SELECT photo_id FROM delivery_photo WHERE order_id = ${bytesOfUuid(orderId)}`.execute(db)
  ).rows as never as [{ photo_id: Buffer }];
  const hex = photo_id.toString('hex');
  const photoId = hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
  const complaint = { wanted: 'REFUND', complaint: 'cold', photoId };
  t.is(
    (await as(customer)('POST', `/orders/${orderId}/refund-request`, complaint)).code,
    'MUSTER_PHOTO_UNKNOWN',
  );
  isFull = false;
  t.deepEqual(await add(), { ok: true, photoId });
  t.deepEqual(await add(), { ok: true, photoId });
  t.is(made, 2, 'what is kept is not made again');
  t.deepEqual([...kept.keys()], [photoId]);
  t.is(
    (await as(customer)('POST', `/orders/${orderId}/refund-request`, complaint)).json.state,
    'REFUND_REQUESTED',
  );
});

test('while the folder of photos is not there, who sends or wants one is told to come again, and nothing ends', async (t) => {
  const place = join(folder, 'elsewhere');
  await writeFile(place, 'a file where the folder is to be');
  const http = await startTestHttp({ processName: 'delivery', log: testLog });
  const running = await startPhotos(http, place);
  await http.open();
  t.teardown(async () => {
    await running.stop();
    await http.close(100);
  });
  const at = `http://127.0.0.1:${http.address().port}/delivery`;
  const { orderId, customer } = await delivered();
  const bytes = await picture();
  const sent = async () => {
    const { status, code, again } = await send(customer, orderId, bytes, 'a.jpg', at);
    return `${status} ${code} ${again}`;
  };
  const notNow = '503 MUSTER_FILE_STORE_REFUSES 1';
  t.is(await sent(), notNow);
  t.is(await rowsOf(orderId), 0);
  await rm(place);
  t.is(await sent(), '201 undefined null');
  const { photoId } = await send(customer, orderId, bytes, 'a.jpg', at);
  await rename(place, `${place}-gone`);
  t.is((await see(customer, orderId, photoId, at)).status, 503, 'not 404: it is not deleted');
  const other = await picture();
  t.is((await send(customer, orderId, other, 'a.jpg', at)).status, 503);
  await rename(`${place}-gone`, place);
  t.is((await see(customer, orderId, photoId, at)).status, 200);
  t.is((await send(customer, orderId, other, 'a.jpg', at)).status, 201);
});

test('after 90 days a photo goes, its file first: a row whose file cannot be removed stays', async (t) => {
  const { orderId, customer } = await delivered();
  const [old, young] = [
    await send(customer, orderId, await picture()),
    await send(customer, orderId, await picture()),
  ];
  await sql`
    UPDATE delivery_photo SET made_at = made_at - INTERVAL 91 DAY WHERE photo_id = ${bytesOfUuid(old.photoId)}`.execute(
    db,
  );
  // Its schema here is like the shop's.
  const table = { ...tables.find(({ name }) => name === 'delivery_photo')!, database: 'shop' } as const;
  const files = folderStore(folder);
  const clean = (store: FileStore) =>
    cleanTable(db, settings.MYSQL_DATABASE, table, new AbortController().signal, () => {}, store);
  const broken = { ...files, remove: async () => Promise.reject(new Error('disk')) };
  await t.throwsAsync(clean(broken), { message: 'disk' });
  t.is(await rowsOf(orderId), 2);
  t.is(await clean(files), 1);
  t.is(await clean(files), 0);
  t.is(await rowsOf(orderId), 1);
  t.false((await filesOf()).includes(old.photoId));
  t.true((await filesOf()).includes(young.photoId));
  t.is((await see(customer, orderId, old.photoId)).status, 404);
  t.is((await see(customer, orderId, young.photoId)).status, 200);
});
