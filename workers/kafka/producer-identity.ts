/** The producer ids under which partitions count their batches. */
import type { Broker } from './kafkajs-internals.ts';

export interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}

export interface ProducerIdentities {
  /** The present one; a partition begins at sequence 0 with it. */
  current(broker: Broker): Promise<ProducerIdentity>;
  /** A partition does not go on under this one. No partition begins under it any more either. */
  giveUp(identity: ProducerIdentity | undefined): void;
}

export function producerIdentities(): ProducerIdentities {
  let asked: Promise<ProducerIdentity> | undefined;
  let known: ProducerIdentity | undefined;
  return {
    async current(broker) {
      asked ??= broker
        .initProducerId({ transactionTimeout: 30_000 })
        .then(({ producerId, producerEpoch }) => ({ id: BigInt(producerId), epoch: producerEpoch }));
      try {
        known = await asked;
        return known;
      } catch (error) {
        asked = undefined;
        throw error;
      }
    },
    giveUp(identity) {
      if (identity === undefined || identity !== known) return;
      asked = undefined;
      known = undefined;
    },
  };
}
