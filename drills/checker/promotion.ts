/**
 * Checks the promotion pipeline from outside: what was sent and acked on all three ways in, against everything that came
 * out. Pure.
 *
 * - Every acked purchase has a last word on `purchase_enriched`, and it is the oracle's. Of a message without an ack
 *   nobody knows whether it got through, so the answers of its user may go either way; they must exist all the same.
 * - `promotion` holds just the purchases that were affected.
 * - What must be refused was refused by the API, or is a dead letter with its bytes.
 * - Answers exist only for what was sent; no record shows a user id or a card number.
 * - The answers to a purchase come in the order of their versions (versions.ts).
 * - Nothing was committed before what came of it was there (commits.ts, promotion-work.ts).
 */
import { listedActs } from '../../catalog/events/promotion.ts';
import { topics } from '../../catalog/topics.ts';
import { type CommitNote, committedBeyond } from './commits.ts';
import { type OracleAnswer, oracle } from './oracle.ts';
import { promotionWork } from './promotion-work.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { checkVersions } from './versions.ts';
import { bodyOf, nameOf, showing, traceIdOf } from './wire.ts';

/** Everything since the run began; each partition's in order of offsets. */
export interface PromotionOutputs {
  readonly purchases: readonly SeenRecord[];
  /** On `purchase_by_user`. */
  readonly movedPurchases: readonly SeenRecord[];
  readonly acts: readonly SeenRecord[];
  readonly enriched: readonly SeenRecord[];
  readonly promotion: readonly SeenRecord[];
  readonly deadLetters: readonly SeenRecord[];
  readonly commits: readonly CommitNote[];
}

/** What a message of the load means. */
export interface KnownMessage {
  /** Of this message; a duplicate has the id of the first. */
  readonly id: string;
  readonly userId: string;
  readonly eventTimeMs: number;
  readonly purchase?: { readonly purchaseId: string };
  readonly act?: { readonly promotionId: string; readonly action: 'click' | 'view' };
}

export interface SentMessage {
  /** `poison` is a text that must be refused. */
  readonly message: KnownMessage | { readonly id: string; readonly poison: string };
  readonly way: 'api' | 'log' | 'kafka';
  /** `acked`: 202, Kafka's ack, or written to the log file. `refused`: 4xx. `failed`: no ack; it may have got through. */
  readonly outcome: 'acked' | 'refused' | 'failed';
}

export interface PromotionInputs {
  /** All messages of these people: the oracle needs every act. */
  readonly sent: readonly SentMessage[];
  /** What purchase ids of this run begin with: answers of others are not looked at. */
  readonly run: string;
  /** Must not appear on any output: the prefix of user ids, card numbers. */
  readonly personal: readonly string[];
  /** Whether anything was broken during the run. */
  readonly disturbed: boolean;
}

interface Answer {
  readonly record: SeenRecord;
  readonly body: Enriched;
}

interface Enriched {
  readonly purchaseId: string;
  readonly version: number;
  readonly promotion_affect: 0 | 1;
  readonly promotions: OracleAnswer['promotions'];
}

export function checkPromotion(inputs: PromotionInputs, outputs: PromotionOutputs): Verdict {
  const findings: Finding[] = [];
  const { acked, doubtfulUsers, inDoubt } = split(inputs);
  const expected = expectedOf(acked, inputs.sent);
  const sentIds = new Set(
    inputs.sent.flatMap(({ message }) =>
      'poison' in message || message.purchase === undefined ? [] : [message.purchase.purchaseId],
    ),
  );
  const userOf = new Map(
    acked.flatMap((message) =>
      message.purchase === undefined ? [] : [[message.purchase.purchaseId, message.userId]],
    ),
  );

  // Of others nobody knows here whether they are right; what cannot be read is nobody's.
  const answersOn = (records: readonly SeenRecord[]): readonly Answer[] =>
    records.flatMap((record) => {
      const body = bodyOf(record) as Enriched | undefined;
      if (typeof body?.purchaseId === 'string' && Array.isArray(body.promotions))
        return body.purchaseId.startsWith(inputs.run) ? [{ record, body }] : [];
      findings.push(found('wrong', nameOf(record), 'the record is no answer', traceIdOf(record)));
      return [];
    });
  const enriched = answersOn(outputs.enriched);
  const promotion = answersOn(outputs.promotion);

  // --- the last word on each purchase
  const last = new Map<string, { answer: Enriched; traceId: string | undefined }>();
  const said = new Set<string>();
  let repeats = 0;
  for (const { record, body: answer } of enriched) {
    const traceId = traceIdOf(record);
    if (!sentIds.has(answer.purchaseId))
      findings.push(
        found('from-nowhere', answer.purchaseId, 'an answer to a purchase that nobody made', traceId),
      );
    const version = `${answer.purchaseId} ${answer.version}`;
    if (said.has(version)) repeats += 1;
    said.add(version);
    // Of two words of one version the later one counts, as it does for a consumer that overwrites.
    if ((last.get(answer.purchaseId)?.answer.version ?? 0) <= answer.version)
      last.set(answer.purchaseId, { answer, traceId });
  }
  for (const [id, truth] of expected) {
    const word = last.get(id);
    if (word === undefined) findings.push(found('lost', id, 'acked, and no answer came out'));
    else if (!doubtfulUsers.has(userOf.get(id)!) && differs(word.answer, truth))
      findings.push(
        found(
          'wrong',
          id,
          `says ${word.answer.promotion_affect} ${listed(word.answer)}, the oracle ${truth.affect} ${listed(truth)}`,
          word.traceId,
        ),
      );
  }

  // --- in order, and not committed before it was done
  for (const [topic, answers] of [
    [topics.purchaseEnriched.name, enriched],
    [topics.promotion.name, promotion],
  ] as const)
    findings.push(
      ...checkVersions(
        topic,
        answers.map(({ record, body: { purchaseId: id, version } }) => ({ record, id, version })),
        inputs.disturbed,
      ),
    );
  const known = acked.flatMap(({ purchase, userId, eventTimeMs }) => {
    const truth = purchase && !doubtfulUsers.has(userId) ? expected.get(purchase.purchaseId) : undefined;
    return truth === undefined ? [] : [{ id: purchase!.purchaseId, userId, purchasedMs: eventTimeMs, truth }];
  });
  const poison = new Set(inputs.sent.flatMap(({ message }) => ('poison' in message ? [message.poison] : [])));
  const answers = Map.groupBy(enriched, ({ body }) => body.purchaseId);
  const work = promotionWork(
    {
      run: inputs.run,
      poison,
      known,
      answersTo: (id) => (answers.get(id) ?? []).map(({ record }) => record),
      rightAnswersTo: (id, truth) =>
        (answers.get(id) ?? []).flatMap(({ record, body }) => (differs(body, truth) ? [] : [record])),
    },
    outputs,
  );
  findings.push(...committedBeyond(work, outputs.commits));

  // --- the re-published ones
  const republished = new Set(promotion.map(({ body }) => body.purchaseId));
  for (const [id, { answer, traceId }] of last)
    if ((answer.promotion_affect === 1) !== republished.has(id))
      findings.push(
        found(
          'untold',
          id,
          answer.promotion_affect === 1
            ? 'affected, and not on topic promotion'
            : 'on topic promotion, and not affected',
          traceId,
        ),
      );

  // --- what must be refused
  const letters = new Set(outputs.deadLetters.map(({ value }) => String(value)));
  for (const { message, outcome, way } of inputs.sent) {
    if (!('poison' in message)) {
      if (outcome === 'refused')
        findings.push(found('wrong', message.id, `a valid message was refused on way ${way}`));
      continue;
    }
    if (way === 'api' && outcome === 'acked')
      findings.push(found('wrong', message.id, 'the API took what it must refuse'));
    // A line of a log file ends at its first line break.
    if (
      way !== 'api' &&
      outcome === 'acked' &&
      !letters.has(message.poison.split('\n')[0]!) &&
      !letters.has(message.poison)
    )
      findings.push(found('lost', message.id, `not understood on way ${way}, and no dead letter`));
  }

  // --- nobody's data
  for (const [topic, records] of [
    ['purchase_enriched', outputs.enriched],
    ['promotion', outputs.promotion],
  ] as const) {
    const shown = showing(records, inputs.personal);
    if (shown !== undefined)
      findings.push(found('personal-data', topic, 'a record shows personal data', traceIdOf(shown)));
  }
  return { subject: 'promotion', acked: acked.length, inDoubt, repeats, findings };
}

function split({ sent }: PromotionInputs) {
  const messages = (list: readonly SentMessage[]) =>
    list.map(({ message }) => message).filter((message): message is KnownMessage => !('poison' in message));
  const failed = messages(sent.filter(({ outcome }) => outcome === 'failed'));
  return {
    acked: messages(sent.filter(({ outcome }) => outcome === 'acked')),
    inDoubt: sent.filter(({ outcome }) => outcome === 'failed').length,
    doubtfulUsers: new Set(failed.map(({ userId }) => userId)),
  };
}

function expectedOf(
  acked: readonly KnownMessage[],
  sent: readonly SentMessage[],
): ReadonlyMap<string, OracleAnswer> {
  const iso = ({ eventTimeMs }: KnownMessage) => new Date(eventTimeMs).toISOString();
  // The oracle looks at every act for every purchase. Person by person it says the same, in seconds after a soak of hours.
  const acts = Map.groupBy(
    sent.flatMap(({ message, outcome }) =>
      'poison' in message || message.act === undefined || outcome === 'refused'
        ? []
        : [{ ...message.act, userId: message.userId, actedAt: iso(message) }],
    ),
    ({ userId }) => userId,
  );
  const purchases = Map.groupBy(
    acked.flatMap((message) =>
      message.purchase === undefined
        ? []
        : [{ purchaseId: message.purchase.purchaseId, userId: message.userId, purchasedAt: iso(message) }],
    ),
    ({ userId }) => userId,
  );
  return new Map([...purchases].flatMap(([userId, own]) => [...oracle(own, acts.get(userId) ?? [])]));
}

function listed({ promotions }: Pick<OracleAnswer, 'promotions'>): string {
  return JSON.stringify(
    promotions
      .slice(0, listedActs)
      .map(({ promotionId, action, secondsBefore }) => [promotionId, action, secondsBefore]),
  );
}

const differs = (answer: Enriched, truth: OracleAnswer): boolean =>
  answer.promotion_affect !== truth.affect || listed(answer) !== listed(truth);
