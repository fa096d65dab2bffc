import test from 'ava';
import fc from 'fast-check';
import { createMailboxes, type Letter, messageOf } from './mailbox.ts';
import type { Connection, Message, Reader } from './realtime.ts';

const letter = (id: string): Letter => ({ type: 'news', id, data: { id } });

/** What the service keeps of one user: letters in their order, and which are acknowledged. */
function store() {
  const letters: string[] = [];
  const acknowledged = new Set<string>();
  return {
    letters,
    acknowledged,
    visit: (address: string, lastEventId?: string) => ({
      address,
      lastEventId,
      async unread(after: string | undefined) {
        const from = after === undefined ? -1 : letters.indexOf(after);
        return letters
          .filter((id, index) => !acknowledged.has(id) || (from >= 0 && index > from))
          .map(letter);
      },
      async acknowledge(ids: readonly string[]) {
        for (const id of ids) if (letters.includes(id)) acknowledged.add(id);
      },
    }),
  };
}

function connection(takes = true): Connection & { readonly got: Message[] } {
  const got: Message[] = [];
  return {
    got,
    send(message) {
      if (takes) got.push(message);
      return takes;
    },
    end() {},
  };
}

const idsOf = ({ got }: { readonly got: readonly Message[] }) =>
  got.flatMap(({ id }) => (id === undefined ? [] : [messageOf(id)]));

test('a letter reaches every client of its user and nobody else', async (t) => {
  const mailboxes = createMailboxes();
  const [first, second, other] = [connection(), connection(), connection()];
  await mailboxes.open(store().visit('u')).begin(first);
  await mailboxes.open(store().visit('u')).begin(second);
  await mailboxes.open(store().visit('v')).begin(other);
  t.is(mailboxes.push('u', letter('1')), 2);
  t.is(mailboxes.push('nobody', letter('2')), 0);
  t.deepEqual([idsOf(first), idsOf(second), idsOf(other)], [['1'], ['1'], []]);
});

test('what comes while a client looks up what it missed follows that, and nothing is shown twice', async (t) => {
  const mailboxes = createMailboxes();
  const kept = store();
  const one = connection();
  let look = () => {};
  const looking = new Promise<void>((resolve) => {
    look = resolve;
  });
  const begun = mailboxes
    .open({
      ...kept.visit('u'),
      async unread() {
        await looking;
        return [letter('1'), letter('2')];
      },
    })
    .begin(one);
  t.is(mailboxes.push('u', letter('2')), 0);
  t.is(mailboxes.push('u', letter('3')), 0);
  look();
  await begun;
  t.deepEqual(idsOf(one), ['1', '2', '3']);
  t.is(mailboxes.push('u', letter('3')), 1, 'what comes twice counts as sent');
  t.deepEqual(idsOf(one), ['1', '2', '3']);
});

test('a client that takes nothing counts as not told', async (t) => {
  const mailboxes = createMailboxes();
  await mailboxes.open(store().visit('u')).begin(connection(false));
  t.is(mailboxes.push('u', letter('1')), 0);
});

test('a client that has left gets nothing, and leaves nobody behind', async (t) => {
  const mailboxes = createMailboxes();
  const one = connection();
  const reader = mailboxes.open(store().visit('u'));
  await reader.begin(one);
  reader.left();
  reader.left();
  t.false(mailboxes.has('u'));
  t.is(mailboxes.push('u', letter('1')), 0);
  const early = mailboxes.open(store().visit('u'));
  const begun = early.begin(one);
  early.left();
  await begun;
  t.false(mailboxes.has('u'));
});

test('the event seen last stands for those sent before it on its stream, and for no others', async (t) => {
  const mailboxes = createMailboxes();
  const kept = store();
  const [one, other] = [connection(), connection()];
  await mailboxes.open(kept.visit('u')).begin(one);
  await mailboxes.open(kept.visit('u')).begin(other);
  for (const id of ['1', '2', '3']) {
    kept.letters.push(id);
    mailboxes.push('u', letter(id));
  }
  const second = one.got.at(-2)!.id!;
  await mailboxes.open(kept.visit('u', second)).begin(connection());
  t.deepEqual([...kept.acknowledged], ['1', '2']);
  // By its plain id, or from a process that is gone: only that one is sure.
  await createMailboxes().open(kept.visit('u', '3')).begin(connection());
  t.deepEqual([...kept.acknowledged], ['1', '2', '3']);
  kept.letters.push('4', '5');
  for (const id of ['4', '5']) mailboxes.push('u', letter(id));
  await createMailboxes()
    .open(kept.visit('u', one.got.at(-1)!.id))
    .begin(connection());
  t.deepEqual([...kept.acknowledged], ['1', '2', '3', '5']);
});

test('an event id of another user stands for nothing but itself', async (t) => {
  const mailboxes = createMailboxes();
  const [mine, theirs] = [store(), store()];
  const one = connection();
  await mailboxes.open(mine.visit('u')).begin(one);
  mine.letters.push('1', '2');
  for (const id of ['1', '2']) mailboxes.push('u', letter(id));
  await mailboxes.open(theirs.visit('v', one.got.at(-1)!.id)).begin(connection());
  t.deepEqual([...mine.acknowledged, ...theirs.acknowledged], []);
});

test('a connection acknowledges only what it was sent', async (t) => {
  const mailboxes = createMailboxes();
  const kept = store();
  const one = connection();
  const reader = mailboxes.open(kept.visit('u'));
  await reader.begin(one);
  kept.letters.push('1', '2');
  mailboxes.push('u', letter('1'));
  t.deepEqual(await reader.acknowledge!(['1', '2', one.got.at(-1)!.id!]), ['1', '1']);
  t.deepEqual([...kept.acknowledged], ['1']);
});

/**
 * Clients of one user on two replicas: links are cut with what is on them, replicas restart, results come late and in another
 * order than they were decided in. Whatever happens, what is acknowledged was received by a client.
 */
test('what is acknowledged was received, and what was not is told again', async (t) => {
  const step = fc.record({
    what: fc.constantFrom(
      'decide',
      'push',
      'push',
      'connect',
      'reload',
      'cut',
      'read',
      'read',
      'ack',
      'restart',
    ),
    device: fc.nat(1),
    pick: fc.nat(5),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const kept = store();
      const replicas = [createMailboxes(), createMailboxes()];
      /** Decided, and not yet pushed by each replica. */
      const onTheWay: string[][] = [[], []];
      const received = new Set<string>();
      interface Device {
        lastEventId: string | undefined;
        link: { reader: Reader; replica: number; sent: Message[] } | undefined;
      }
      const devices: Device[] = [0, 1].map(() => ({ lastEventId: undefined, link: undefined }));
      const cut = (device: Device) => {
        device.link?.reader.left();
        device.link = undefined;
      };
      const connect = async (device: Device, replica: number) => {
        cut(device);
        const sent: Message[] = [];
        const reader = replicas[replica]!.open(kept.visit('u', device.lastEventId));
        device.link = { reader, replica, sent };
        await reader.begin({
          send(message) {
            sent.push(message);
            return true;
          },
          end() {},
        });
      };
      const read = (device: Device) => {
        const message = device.link?.sent.shift();
        if (message?.id === undefined) return;
        received.add(messageOf(message.id));
        device.lastEventId = message.id;
      };
      for (const { what, device: which, pick } of steps) {
        const device = devices[which]!;
        const replica = pick % 2;
        if (what === 'decide') {
          const id = `m${kept.letters.length}`;
          kept.letters.push(id);
          for (const way of onTheWay) way.push(id);
        } else if (what === 'push') {
          const [id] = onTheWay[replica]!.splice(pick % Math.max(1, onTheWay[replica]!.length), 1);
          if (id !== undefined) replicas[replica]!.push('u', letter(id));
        } else if (what === 'connect') await connect(device, replica);
        else if (what === 'reload') {
          device.lastEventId = undefined;
          await connect(device, replica);
        } else if (what === 'cut') cut(device);
        else if (what === 'read') read(device);
        else if (what === 'ack') {
          if (device.lastEventId !== undefined)
            await device.link?.reader.acknowledge?.([messageOf(device.lastEventId)]);
        } else {
          for (const each of devices) if (each.link?.replica === replica) cut(each);
          replicas[replica] = createMailboxes();
        }
        for (const id of kept.acknowledged) if (!received.has(id)) return false;
      }
      // A device that comes back and reads on has everything in the end.
      await connect(devices[0]!, 0);
      while (devices[0]!.link!.sent.length > 0) read(devices[0]!);
      return kept.letters.every((id) => received.has(id));
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});
