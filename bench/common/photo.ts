/** Photos as phones take them, for benchmarks. */
import sharp from 'sharp';
import { throwIfInterrupted } from '../../environment/interruption.ts';

/** A JPEG of 4000 x 3000 of about that size: the noisier, the longer. */
export async function photoOf(megabytes: number, progressive: boolean, signal: AbortSignal): Promise<Buffer> {
  const make = (sigma: number) =>
    sharp({
      create: {
        ...{ width: 4_000, height: 3_000, channels: 3, background: '#808080' },
        noise: { type: 'gaussian', mean: 128, sigma },
      },
    })
      .jpeg({ quality: 85, progressive })
      .toBuffer();
  let [low, high] = [1, 100];
  let photo = await make(high);
  while (Math.abs(photo.length / 1e6 - megabytes) > 0.2 && high - low > 0.5) {
    throwIfInterrupted(signal);
    const middle = (low + high) / 2;
    photo = await make(middle);
    if (photo.length / 1e6 > megabytes) high = middle;
    else low = middle;
  }
  return photo;
}

/** As a body of `multipart/form-data; boundary=b`. */
export const formOf = (photo: Buffer) =>
  Buffer.concat([
    Buffer.from(
      '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n',
    ),
    photo,
    Buffer.from('\r\n--b--\r\n'),
  ]);
