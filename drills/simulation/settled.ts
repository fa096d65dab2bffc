/** The end of a scenario: when everything that came in has been dealt with. */
import type { SimulatedKafka } from './kafka.ts';
import type { World } from './world.ts';

export interface Settling {
  readonly kafka: SimulatedKafka;
  /** All of these topics must be committed to their ends by the group. */
  readonly reads: readonly { readonly group: string; readonly topics: readonly string[] }[];
  /** What else is still open, in words. */
  open?(): readonly string[];
}

/** The longest that may take: the last retry of a record comes after minutes. */
const withinMs = 300_000;

/** Resolves when nothing is open any more, and a while later; rejects, saying what is, when that does not happen. */
export async function settled(world: World, { kafka, reads, open = () => [] }: Settling): Promise<void> {
  const untilMs = world.now() + withinMs;
  const behind = () =>
    reads.flatMap(({ group, topics }) =>
      topics.flatMap((topic) =>
        Array.from({ length: kafka.partitions }, (_, partition) => ({
          done: kafka.committed(group, topic, partition) ?? 0,
          end: kafka.end(topic, partition),
          name: `${topic} ${partition}`,
        })).flatMap(({ done, end, name }) => (done < end ? [`${name} committed ${done} of ${end}`] : [])),
      ),
    );
  for (;;) {
    await world.sleep(200);
    const left = [...behind(), ...open()];
    if (left.length === 0) break;
    if (world.now() > untilMs) throw new Error(`stuck: ${left.join(', ')}`);
  }
  // A member that was put out may still be at work.
  await world.sleep(5_000);
}
