/** Photos of complaints: which order they belong to, who may see them, and where their files are. */
import { sql } from 'kysely';
import { bytesOfUuid, uuidOf } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import type { FileStore } from '../store/files.ts';
import { decide, type Order, unknownOrder } from './machine.ts';
import { type Database, type Done, withinOf } from './shops.ts';
import { orderRows, photoOf } from './steps.ts';

/** Of an order: enough for who takes a bad one first, and no place to keep files in. */
export const mostOfOrder = 5;

const tooMany = refuse(409, 'MUSTER_PHOTOS_TOO_MANY', `an order has at most ${mostOfOrder} photos`);

export function photoStore(on: Database & { readonly files: FileStore }) {
  const { database, files } = on;
  const within = withinOf(on);

  return {
    /** Whether a customer may send a photo for an order now: who may ask for a refund of it may. */
    mayAdd: (orderId: string, customer: string): Promise<Done> =>
      within(async (trx, now) => {
        const [order] = await orderRows(trx, sql`order_id = ${bytesOfUuid(orderId)}`);
        return mayComplain(order, customer, now);
      }),

    /**
     * Keeps a photo for an order; durable when it resolves. The same file (`sha256` of what was sent) is kept once, and made
     * once if it was kept before: the answer is the same.
     */
    async add(
      orderId: string,
      customer: string,
      sha256: string,
      make: () => Promise<Buffer>,
    ): Promise<{ readonly ok: true; readonly photoId: string } | Refused> {
      const photoId = uuidOf('delivery-photo', orderId, sha256);
      const id = bytesOfUuid(photoId);
      const db = await database();
      if ((await photoOf(db, orderId, photoId)) === 'STORED') return { ok: true, photoId };
      const bytes = await make();
      const noted = await within(async (trx, now): Promise<Done> => {
        const [order] = await orderRows(trx, sql`order_id = ${bytesOfUuid(orderId)} FOR UPDATE`);
        const may = mayComplain(order, customer, now);
        if (!may.ok || (await photoOf(trx, orderId, photoId)) !== undefined) return may;
        const { rows } = await sql<{ n: number }>`
          SELECT COUNT(*) AS n FROM delivery_photo WHERE order_id = ${bytesOfUuid(orderId)}`.execute(trx);
        if (Number(rows[0]!.n) >= mostOfOrder) return tooMany;
        await sql`
          INSERT INTO delivery_photo (photo_id, order_id, made_at)
          VALUES (${id}, ${bytesOfUuid(orderId)}, ${new Date(now)})`.execute(trx);
        return { ok: true };
      });
      if (!noted.ok) return noted;
      await files.put(photoId, bytes);
      await sql`UPDATE delivery_photo SET stored_at = UTC_TIMESTAMP(3) WHERE photo_id = ${id}`.execute(db);
      return { ok: true, photoId };
    },

    /** The file of a photo of an order; undefined: there is none, or none any more. */
    async file(orderId: string, photoId: string): Promise<Buffer | undefined> {
      const is = await photoOf(await database(), orderId, photoId);
      return is === undefined ? undefined : files.get(photoId);
    },
  };
}

export type PhotoStore = ReturnType<typeof photoStore>;

function mayComplain(order: Order | undefined, customer: string, now: number): Done {
  if (order === undefined) return unknownOrder;
  const complaint = { step: 'requestRefund', wanted: 'REFUND', complaint: '', photoId: '' } as const;
  const decided = decide(order, { role: 'customer', who: customer }, complaint, now);
  return decided.ok ? { ok: true } : decided;
}
