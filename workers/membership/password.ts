/** Passwords: scrypt with a salt each, off the main thread, two at once; compared in the same time whether right or wrong. */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { createSlots } from '../base/concurrency.ts';
import { NotNowError } from '../base/errors.ts';

/** 2^14 blocks of 1 KiB, five times: 16 MiB while it runs. docs/my-pay.md says what a guess costs. */
const cost = { ln: 14, r: 8, p: 5 };
const saltBytes = 16;
const hashBytes = 32;

/** Each takes a thread of the runtime's four, and its 16 MiB. */
const slots = createSlots(2);
const mostWaiting = 50;

/** A password as it is kept: `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`, so that what is kept today can be read when it costs more. */
export async function keepPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  return textOf(salt, await derive(password, salt, cost));
}

/** With nothing kept it takes as long, and is wrong: who guesses e-mails learns nothing. */
export async function isPassword(password: string, kept: string | undefined): Promise<boolean> {
  const [, ln, r, p, salt, hash] = kind.exec(kept ?? nobody)!;
  const wanted = Buffer.from(hash!, 'base64url');
  const found = await derive(password, Buffer.from(salt!, 'base64url'), {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
  });
  return timingSafeEqual(found, wanted) && kept !== undefined;
}

const kind = /^\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([\w-]+)\$([\w-]+)$/;

const textOf = (salt: Buffer, hash: Buffer) =>
  `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${salt.toString('base64url')}$${hash.toString('base64url')}`;

const nobody = textOf(Buffer.alloc(saltBytes), Buffer.alloc(hashBytes));

/** Rejects with MUSTER_PASSWORDS_BUSY (not now) when too many wait. */
async function derive(password: string, salt: Buffer, { ln, r, p }: typeof cost): Promise<Buffer> {
  if (slots.waiting() >= mostWaiting)
    throw new NotNowError('MUSTER_PASSWORDS_BUSY', 'too many passwords wait to be checked');
  const release = await slots.next();
  const options: ScryptOptions = { N: 2 ** ln, r, p, maxmem: 2 ** ln * r * 256 };
  try {
    return await new Promise<Buffer>((resolve, reject) =>
      scrypt(password.normalize('NFC'), salt, hashBytes, options, (error, key) =>
        error ? reject(error) : resolve(key),
      ),
    );
  } finally {
    release();
  }
}
