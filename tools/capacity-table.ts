/** What `./muster capacity` prints. Pure. */

import { type Paint, plainTable } from '../drawing/table.ts';
import type { Capacity, Comparison } from './capacity.ts';

/** `34.56 GB`, `820 MB`, `12 kB`: decimal, as disks and the contract count. */
export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${Math.round(bytes)} B`;
}

const perSecond = (bytes: number) => `${size(bytes)}/s`;

function days(ms: number): string {
  const value = ms / 86_400_000;
  return value >= 1 ? `${Number(value.toFixed(1))} d` : `${Number((ms / 3_600_000).toFixed(1))} h`;
}

function factor(value: number): string {
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 2 : 0) : 'any';
}

export function planTables(plan: Capacity, paint: Paint): string {
  const { disk, network, memory } = plan;
  const title = (text: string) => paint('bold', text);
  const verdict = (fits: boolean) => (fits ? paint('green', 'fits') : paint('red', 'does not fit'));
  const lines: string[] = [];

  lines.push(title(`From the contract’s sum to environment ${plan.environment}`));
  const steps = plainTable(['', 'in all', 'each broker', ''], [1, 2], paint);
  for (const { what, sum, allBytes, bytesPerBroker } of plan.steps)
    steps.push([what, size(allBytes), size(bytesPerBroker), paint('dim', sum)]);
  lines.push(steps.toString(), '');

  lines.push(title('Topics'));
  const head = ['topic', 'owner', 'messages/s', 'B each', 'B on disk', 'copies', 'kept', 'each broker'];
  const topics = plainTable(head, [2, 3, 4, 5, 6, 7], paint);
  const loaded = plan.topics.filter(({ messagesPerSecond }) => messagesPerSecond > 0);
  for (const topic of [...loaded].sort((a, b) => b.bytesPerBroker - a.bytesPerBroker))
    topics.push([
      topic.name,
      topic.owner,
      String(topic.messagesPerSecond),
      String(topic.bytesPerMessage),
      String(topic.diskBytesPerMessage),
      String(topic.copies),
      days(topic.retentionMs),
      size(topic.bytesPerBroker),
    ]);
  lines.push(topics.toString());
  lines.push(
    paint(
      'dim',
      `${plan.topics.length - loaded.length} more without a design load (dead letters, repartition).`,
    ),
    '',
  );

  lines.push(title(`Each of ${plan.brokers} brokers`));
  const broker = plainTable(['', 'needed', 'there', '', ''], [1, 2], paint);
  broker.push(
    [
      'disk',
      size(disk.neededBytes),
      size(disk.diskBytes),
      verdict(disk.fits),
      paint(
        'dim',
        `logs ${size(disk.logBytes)}, committed offsets up to ${size(disk.offsetsBytes)}, kept free ${size(disk.bufferBytes)}`,
      ),
    ],
    [
      'memory',
      size(memory.neededBytes),
      size(memory.limitBytes),
      verdict(memory.fits),
      paint(
        'dim',
        `heap ${size(memory.heapBytes)}, beside it ${size(memory.beyondHeapBytes)}, 30 s of writes in the page cache ${size(memory.pageCacheBytes)}`,
      ),
    ],
    [
      'network in',
      perSecond(network.inBytes),
      '',
      '',
      paint(
        'dim',
        `from producers ${perSecond(network.fromProducers)}, from leaders ${perSecond(network.fromLeaders)}`,
      ),
    ],
    [
      'network out',
      perSecond(network.outBytes),
      '',
      '',
      paint(
        'dim',
        `to consumer groups ${perSecond(network.toConsumers)}, to followers ${perSecond(network.toFollowers)}`,
      ),
    ],
  );
  lines.push(broker.toString(), '');

  const asked = days(plan.retentionDays * 86_400_000);
  const holds = days(disk.daysThatFit * 86_400_000);
  lines.push(
    disk.fits
      ? `${paint('green', 'Enough:')} ${size(disk.diskBytes)} hold ${holds} of the design load; ${asked} are asked for. It could be ${factor(disk.loadThatFits)} times the load.`
      : `${paint('red', 'Not enough:')} ${size(disk.diskBytes)} hold ${holds} of the design load; ${asked} are asked for. For those it may be ${factor(disk.loadThatFits)} times the load, or the disk has to be ${size(disk.neededBytes)}.`,
  );
  return lines.join('\n');
}

export function comparisonTable(comparison: readonly Comparison[], paint: Paint): string {
  const head = ['topic', 'records', 'one copy', 'B each', 'planned', 'measured / planned'];
  const table = plainTable(head, [1, 2, 3, 4, 5], paint);
  for (const one of comparison)
    table.push([
      one.name,
      String(one.records),
      size(one.bytes),
      one.measuredBytesPerMessage === undefined ? 'too few' : one.measuredBytesPerMessage.toFixed(0),
      String(one.plannedBytesPerMessage),
      one.ratio === undefined ? '' : one.ratio.toFixed(2),
    ]);
  const total = comparison.reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    paint('bold', 'On the disks now'),
    table.toString(),
    `${size(total)} in one copy of all. Below 1: messages are smaller than the catalog says, or batches hold several.`,
  ].join('\n');
}
