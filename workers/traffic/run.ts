/** Sends generated traffic on all three ways in, and keeps account of every message and every ack. */
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { type Percentiles, percentiles } from './client.ts';
import {
  createGenerator,
  type GeneratedMessage,
  type GeneratorOptions,
  loadFactor,
  type MessageKind,
  type PoisonMessage,
  seededRandom,
} from './generate.ts';

type Message = GeneratedMessage | PoisonMessage;
export type Way = 'api' | 'log' | 'kafka';

/** `acked`: 202, Kafka's ack, or written to the log file. `refused`: 4xx. `failed`: no ack in time; it may have got through. */
export type Outcome = 'acked' | 'refused' | 'failed';

export interface SentMessage {
  readonly message: Message;
  readonly way: Way;
  readonly sentAtMs: number;
  readonly settledAtMs: number;
  readonly outcome: Outcome;
}

export interface TrafficProgress {
  readonly elapsedMs: number;
  readonly sent: number;
  readonly acked: number;
  readonly failed: number;
  /** Refused as they should be: poison. */
  readonly refused: number;
  /** Refused although valid, or poison that the API took: a bug on one side. */
  readonly unexpected: number;
  readonly sentBy: Readonly<Record<Way, number>>;
}

export interface TrafficReport extends TrafficProgress {
  /** Times from first try to ack over the API, ms. */
  readonly apiAckMs: Percentiles | undefined;
  /** Why tries over the API failed, with how often; also of tries that went well later. */
  readonly problems: Readonly<Record<string, number>>;
  /** Every message, when asked for by `record`. */
  readonly messages: readonly SentMessage[] | undefined;
}

export interface TrafficOptions extends Omit<GeneratorOptions, 'seed'> {
  /** For example http://127.0.0.1:8080 */
  readonly apiUrl: string;
  /** Of a merchant, who may bring in what any customer did. */
  readonly token: string;
  /** Messages a second on average, purchases and acts together. */
  readonly rate: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  readonly seed: number;
  /** For the share that goes over plain Kafka; unset: none does. */
  readonly kafka?: Producer;
  /** Inbox of the log follower; unset or not writable: nothing goes that way. */
  readonly logDirectory?: string;
  /** Steady instead of bursty. */
  readonly steady?: boolean;
  /** How long a message is tried again after 503 or a broken connection. Default 30,000. */
  readonly retryForMs?: number;
  /** How long after `signal` messages under way are still tried again. Default 3,000. */
  readonly endWithinMs?: number;
  /** Keep every message for the report. */
  readonly record?: boolean;
  /** About once a second. */
  onProgress?(progress: TrafficProgress): void;
  readonly signal?: AbortSignal;
}

const kinds = ['purchase', 'promo_behavior'] as const;
const paths: Record<MessageKind, string> = { purchase: '/purchases', promo_behavior: '/promo-behaviors' };
const tickMs = 10;
/** Above this rate the messages of a tick share requests: one request each would measure the client. */
const batchAboveRate = 300;
const maxRequests = 256;

/**
 * Runs until `durationMs` is over or `signal` fires, then waits for what is under way (at most `retryForMs`, after
 * `signal` at most about `endWithinMs` for what needs another try).
 * Never rejects because of the other side: what goes wrong is in the report.
 */
export async function runTraffic(options: TrafficOptions): Promise<TrafficReport> {
  const { kafka, rate, signal, retryForMs = 30_000 } = options;
  const run = options.run ?? `t${Date.now().toString(36)}`;
  const generator = createGenerator({ ...options, run });
  const choose = seededRandom(options.seed ^ 0x5bd1e995);
  const log = options.logDirectory === undefined ? undefined : await openLog(options.logDirectory, run);
  const logShare = log === undefined ? 0 : 0.1;
  const kafkaShare = kafka === undefined ? 0 : 0.1;

  const startedAtMs = Date.now();
  const clock = performance.now();
  const tally = createTally(clock, options.record === true);
  const { counts, sentBy, settle, problem, progress } = tally;
  const underWay = new Set<Promise<void>>();
  let requests = 0;
  let requestNumber = 0;
  /** After the signal there is little time left, whatever is under way. */
  let endsAt = Number.POSITIVE_INFINITY;
  const noteEnd = () => {
    endsAt = performance.now() + (options.endWithinMs ?? 3_000);
  };
  if (signal?.aborted) noteEnd();
  else signal?.addEventListener('abort', noteEnd, { once: true });

  function begin(work: Promise<void>): void {
    underWay.add(work);
    void work.finally(() => underWay.delete(work));
  }

  function overApi(kind: MessageKind, batch: readonly Message[]): void {
    const sentAtMs = Date.now();
    const first = batch[0]!;
    const body =
      'poison' in first
        ? first.poison
        : JSON.stringify(
            batch.length === 1 ? first.raw : batch.map((message) => (message as GeneratedMessage).raw),
          );
    requestNumber += 1;
    requests += 1;
    // A duplicate is another request of a client that forgot; a second try of ours is the same.
    const key = `${run}-${requestNumber}`;
    const until = performance.now() + retryForMs;
    begin(
      post(options, { kind, body, key }, { problem, giveUpAt: () => Math.min(until, endsAt) }).then(
        (outcome) => {
          requests -= 1;
          settle(batch, 'api', sentAtMs, outcome);
        },
      ),
    );
  }

  /** Over a way whose acks come for all of a batch at once. */
  function over(way: 'kafka' | 'log', batch: readonly Message[], send: () => Promise<unknown>): void {
    if (batch.length === 0) return;
    const sentAtMs = Date.now();
    begin(
      send().then(
        () => settle(batch, way, sentAtMs, 'acked'),
        (error) => {
          problem(`${way} ${(error as { code?: string }).code ?? (error as Error).name}`);
          settle(batch, way, sentAtMs, 'failed');
        },
      ),
    );
  }

  const recordOf = (message: Message): OutgoingRecord => ({
    topic: message.kind,
    // Some foreign producers key by nothing: the platform has to sort that out.
    key: 'poison' in message || choose() < 0.1 ? null : message.userId,
    value: textOf(message),
  });

  function sendMany(count: number): void {
    const nowMs = startedAtMs + Math.round(performance.now() - clock);
    const groups = { purchase: [] as GeneratedMessage[], promo_behavior: [] as GeneratedMessage[] };
    const toKafka: Message[] = [];
    const toLog: Message[] = [];
    for (let i = 0; i < count; i += 1) {
      const message = generator.next(nowMs);
      const u = choose();
      counts.sent += 1;
      const way = u < kafkaShare ? 'kafka' : u < kafkaShare + logShare ? 'log' : 'api';
      sentBy[way] += 1;
      if (way === 'kafka') toKafka.push(message);
      else if (way === 'log') toLog.push(message);
      else if (rate <= batchAboveRate || 'poison' in message) overApi(message.kind, [message]);
      else groups[message.kind].push(message);
    }
    for (const kind of kinds) {
      for (let from = 0; from < groups[kind].length; from += 500) {
        overApi(kind, groups[kind].slice(from, from + 500));
      }
    }
    over('kafka', toKafka, () => kafka!.send(toKafka.map(recordOf), { deadlineMs: retryForMs }));
    over('log', toLog, () => log!.append(toLog));
  }

  let due = 0;
  let lastMs = 0;
  let toldAtMs = 0;
  while (signal?.aborted !== true) {
    const elapsedMs = Math.min(performance.now() - clock, options.durationMs ?? Number.POSITIVE_INFINITY);
    // After a stop of the process (or of the other side) at most a second of traffic is made up for.
    due +=
      ((Math.min(elapsedMs - lastMs, 1_000) * rate) / 1_000) * (options.steady ? 1 : loadFactor(elapsedMs));
    lastMs = elapsedMs;
    if (requests < maxRequests) {
      const count = Math.floor(due);
      due -= count;
      if (count > 0) sendMany(count);
    } else due = Math.min(due, rate);
    if (elapsedMs - toldAtMs >= 1_000) {
      toldAtMs = elapsedMs;
      options.onProgress?.(progress());
    }
    if (elapsedMs === options.durationMs) break;
    await new Promise((resolve) => setTimeout(resolve, tickMs));
  }
  await Promise.all(underWay);
  signal?.removeEventListener('abort', noteEnd);
  await log?.close();
  options.onProgress?.(progress());
  return {
    ...progress(),
    apiAckMs: tally.apiAckMs(),
    problems: tally.problems,
    messages: options.record ? tally.messages : undefined,
  };
}

/** What became of what was sent. `clock`: performance.now() at the beginning. */
function createTally(clock: number, record: boolean) {
  const counts = { sent: 0, acked: 0, failed: 0, refused: 0, unexpected: 0 };
  const sentBy = { api: 0, log: 0, kafka: 0 };
  const problems: Record<string, number> = {};
  const ackMs: number[] = [];
  const messages: SentMessage[] = [];

  function settle(batch: readonly Message[], way: Way, sentAtMs: number, outcome: Outcome) {
    const settledAtMs = Date.now();
    for (const message of batch) {
      const isPoison = 'poison' in message;
      if (outcome === 'failed') counts.failed += 1;
      else if (outcome === 'acked') {
        counts.acked += 1;
        if (isPoison && way === 'api') counts.unexpected += 1;
      } else if (isPoison) counts.refused += 1;
      else counts.unexpected += 1;
      if (record) messages.push({ message, way, sentAtMs, settledAtMs, outcome });
    }
    if (way === 'api' && outcome === 'acked') {
      // Ten minutes at 200/s fit; after that a random sample stays.
      if (ackMs.length < 200_000) ackMs.push(settledAtMs - sentAtMs);
      else ackMs[Math.floor(Math.random() * ackMs.length)] = settledAtMs - sentAtMs;
    }
  }

  return {
    counts,
    sentBy,
    problems,
    messages,
    settle,
    problem(what: string) {
      problems[what] = (problems[what] ?? 0) + 1;
    },
    progress: (): TrafficProgress => ({
      elapsedMs: Math.round(performance.now() - clock),
      ...counts,
      sentBy: { ...sentBy },
    }),
    apiAckMs: () => percentiles(ackMs),
  };
}

/** Posts until there is a final answer, or until `giveUpAt()`. */
async function post(
  { apiUrl, token }: Pick<TrafficOptions, 'apiUrl' | 'token'>,
  { kind, body, key }: { readonly kind: MessageKind; readonly body: string; readonly key: string },
  { problem, giveUpAt }: { problem(what: string): void; giveUpAt(): number },
): Promise<Outcome> {
  for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 2_000)) {
    let what: string;
    try {
      const response = await fetch(`${apiUrl}${paths[kind]}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          'idempotency-key': key,
        },
        body,
        signal: AbortSignal.timeout(10_000),
      });
      await response.arrayBuffer();
      if (response.status === 202) return 'acked';
      what = `HTTP ${response.status}`;
      if (response.status < 500 && response.status !== 429) {
        if (response.status !== 422 && response.status !== 400) problem(what);
        return 'refused';
      }
    } catch (error) {
      const cause = (error as { cause?: { code?: string } }).cause?.code;
      what = cause ?? (error as Error).name;
    }
    problem(what);
    if (performance.now() + waitMs > giveUpAt()) return 'failed';
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

const textOf = (message: Message) => ('poison' in message ? message.poison : JSON.stringify(message.raw));

interface TrafficLog {
  append(batch: readonly Message[]): Promise<void>;
  close(): Promise<void>;
}

const rotateBytes = 8 * 1024 * 1024;
const keepRotated = 3;

/** Log files as an application writes them: appended, and rotated by renaming. Undefined when the folder is not writable. */
async function openLog(directory: string, run: string): Promise<TrafficLog | undefined> {
  const handles = new Map<MessageKind, { handle: FileHandle; bytes: number; rotation: number }>();
  const pathOf = (kind: MessageKind) => join(directory, kind, `traffic-${run}.log`);
  try {
    for (const kind of kinds) {
      await mkdir(join(directory, kind), { recursive: true });
      handles.set(kind, { handle: await open(pathOf(kind), 'a'), bytes: 0, rotation: 0 });
    }
  } catch {
    for (const { handle } of handles.values()) await handle.close();
    return undefined;
  }

  async function rotate(kind: MessageKind): Promise<void> {
    const file = handles.get(kind)!;
    await file.handle.close();
    file.rotation += 1;
    await rename(pathOf(kind), `${pathOf(kind)}.${file.rotation}`);
    file.handle = await open(pathOf(kind), 'a');
    file.bytes = 0;
    const old = file.rotation - keepRotated;
    if (old > 0) await rm(`${pathOf(kind)}.${old}`, { force: true });
  }

  let turn = Promise.resolve();
  return {
    append(batch) {
      const done = turn.then(async () => {
        for (const kind of handles.keys()) {
          // A line break inside a poison message would make two lines of it.
          const lines = batch
            .filter((message) => message.kind === kind)
            .map((message) => `${textOf(message)}\n`);
          if (lines.length === 0) continue;
          const file = handles.get(kind)!;
          const bytes = Buffer.from(lines.join(''));
          await file.handle.appendFile(bytes);
          file.bytes += bytes.length;
          if (file.bytes >= rotateBytes) await rotate(kind);
        }
      });
      turn = done.catch(() => {});
      return done;
    },
    async close() {
      await turn;
      for (const { handle } of handles.values()) await handle.close();
    },
  };
}

/** Removes log files that earlier runs of the traffic worker left behind and nobody has touched for a day. */
export async function removeOldTrafficLogs(directory: string, nowMs: number): Promise<void> {
  for (const kind of kinds) {
    const folder = join(directory, kind);
    for (const name of await readdir(folder).catch(() => [])) {
      if (!/^traffic-.*\.log(\.\d+)?$/.test(name)) continue;
      const info = await stat(join(folder, name)).catch(() => undefined);
      if (info !== undefined && nowMs - info.mtimeMs > 86_400_000)
        await rm(join(folder, name), { force: true });
    }
  }
}
