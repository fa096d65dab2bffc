/** HTTP of photos of complaints: its customer sends one, and who is of the order may see it. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { uuid } from '../../catalog/events/uuid.ts';
import { errorBody, HttpError, refused } from '../http/errors.ts';
import { typed } from '../http/typed.ts';
import { acceptUploads, sendPicture } from '../http/uploads.ts';
import { renewPhoto } from '../platform/photos.ts';
import type { FolderStore } from '../store/files.ts';
import { mostOfOrder, type PhotoStore } from './photos.ts';
import { answers, findFor, personOf, tags } from './routes.ts';
import type { DeliveryStore } from './store.ts';

export interface PhotoRoutesOptions {
  readonly photos: Pick<PhotoStore, 'mayAdd' | 'add' | 'file'>;
  readonly deliveries: Pick<DeliveryStore, 'find'>;
  readonly pseudonymKey: Buffer;
  /** Where files lie while they come in. */
  readonly folder: Pick<FolderStore, 'incoming' | 'ready'>;
}

/** A phone's photo has 3 to 8 MB; uploads of this size at once lie on the disk, not in memory. */
const limits = { maxBytes: 10 * 2 ** 20, maxMs: 20_000, atOnce: 20, ofOneCaller: mostOfOrder };

export function registerPhotoRoutes(http: FastifyInstance, options: PhotoRoutesOptions): void {
  const { photos, deliveries, pseudonymKey, folder } = options;
  http.register(async (scope) => {
    const uploads = await acceptUploads(scope, { directory: folder.incoming, ...limits });
    const app = typed(scope);

    app.post(
      '/delivery/orders/:orderId/photos',
      {
        config: { callers: ['customer'] },
        schema: {
          summary: 'A photo of what is wrong, while a refund can be asked for',
          description:
            'multipart/form-data with one file: a JPEG, PNG or WebP of at most 10 MiB and 51 million pixels, not animated. It is kept as a JPEG of at most 1280 pixels a side with nothing else in it. The same file sent again is the same photo.',
          tags,
          params: Type.Object({ orderId: uuid('the order') }),
          response: {
            201: Type.Object({ photoId: Type.String({ description: 'for …/refund-request' }) }),
            ...answers,
            ...{ 400: errorBody, 408: errorBody, 413: errorBody, 415: errorBody, 429: errorBody },
          },
        },
      },
      async (request, reply) => {
        const { orderId } = request.params;
        const { who } = personOf(request, pseudonymKey);
        // Before a byte is read: who may not send one cannot make us work.
        const may = await photos.mayAdd(orderId, who);
        if (!may.ok) throw refused(may.refusal);
        await folder.ready();
        const added = await uploads.receive(request, reply, ({ path, sha256 }) =>
          photos.add(orderId, who, sha256, () => renewPhoto(path)),
        );
        if (!added.ok) throw refused(added.refusal);
        return reply.code(201).send({ photoId: added.photoId });
      },
    );

    app.get(
      '/delivery/orders/:orderId/photos/:photoId',
      {
        config: { callers: ['customer', 'owner', 'operator'] },
        schema: {
          summary: 'A photo of an order, for its customer and owner, and for staff',
          tags,
          params: Type.Object({ orderId: uuid('the order'), photoId: uuid('as the order says') }),
          response: answers,
        },
      },
      async (request, reply) => {
        const { orderId } = await findFor(request, deliveries, pseudonymKey, request.params.orderId);
        const bytes = await photos.file(orderId, request.params.photoId);
        if (bytes === undefined)
          throw new HttpError(404, 'MUSTER_PHOTO_UNKNOWN', 'the order has no such photo, or none any more');
        return sendPicture(reply, 'image/jpeg', bytes) as never;
      },
    );
  });
}
