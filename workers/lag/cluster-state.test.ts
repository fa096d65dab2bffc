import test from 'ava';
import type { ClusterTopic, GroupDescription } from '../kafka/kafka.ts';
import { ClusterState, passesUntilGone } from './cluster-state.ts';
import { lagMetricText } from './exposition.ts';

const base = 1_700_000_000_000;
const settings = { allowedLag: 0, windowMs: 60_000, sampleMs: 6_000, goneAfterMs: 0, expected: new Map() };

/** A cluster of one topic `t` with one partition and one group `g`, seen every 5 s. */
class Watched {
  readonly state: ClusterState;
  nowMs = base;
  id = 'first';
  leader = 1;
  start = 0;
  end: number | undefined = 0;
  /** Undefined: the coordinator does not list it. */
  committed: number | undefined;
  members = 1;
  groups = ['g'];
  topics = true;
  wholeListing = true;
  /** What lies at an offset; undefined: nothing is read. */
  record: ((offset: number) => { offset: number; timestampMs: number } | undefined) | undefined;
  nextOffset: ((offset: number) => number) | undefined;
  reads = 10;

  constructor(expected: ReadonlyMap<string, readonly string[]> = new Map()) {
    this.state = new ClusterState({ ...settings, expected });
  }

  pass(): void {
    this.nowMs += 5_000;
    const topic: ClusterTopic = {
      name: 't',
      id: this.id,
      partitions: [
        { partition: 0, leader: this.leader, replicas: [1, 2], inSync: this.leader < 0 ? [] : [1] },
      ],
    };
    this.state.seeTopology([1, 2], this.topics ? [topic] : [], this.nowMs);
    this.state.seeGroups(new Set(this.groups), this.wholeListing, this.nowMs);
    const description: GroupDescription = {
      id: 'g',
      members: this.members,
      assigned: this.members > 0 ? new Map([['t', [0]]]) : new Map(),
    };
    this.state.seeDescription(description);
    if (this.groups.includes('g')) {
      if (this.committed !== undefined) this.state.seeCommitted('g', 't', 0, this.committed);
      this.state.seeAllCommitted('g');
    }
    if (this.leader >= 0 && this.end !== undefined) {
      this.state.seeOffset('start', { topic: 't', partition: 0 }, this.start, this.nowMs);
      this.state.seeOffset('end', { topic: 't', partition: 0 }, this.end, this.nowMs);
    }
    const wanted = this.state.wanted(this.nowMs, this.reads);
    const { record } = this;
    this.state.seeRecords(
      wanted,
      record === undefined
        ? []
        : wanted.map(({ topic, partition, offset }) => {
            const found = record(offset);
            return {
              topic,
              partition,
              from: offset,
              record: found,
              nextOffset: found?.offset ?? this.nextOffset?.(offset) ?? offset,
            };
          }),
    );
    this.state.settle(this.nowMs);
  }

  get group() {
    return this.state.groups.get('g')?.topics.get('t')?.get(0);
  }

  get seconds() {
    return this.group!.lagSeconds(this.nowMs);
  }

  /** Every sample as the scrape gives it: none may be NaN, infinite or, but for a missing leader, negative. */
  get samples(): Map<string, number> {
    const lines = [...lagMetricText(this.state, () => this.nowMs)].join('').split('\n');
    return new Map(
      lines
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => {
          const at = line.lastIndexOf(' ');
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
    );
  }
}

test('an idle topic: zero, and not growing', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 100;
  for (let i = 0; i < 50; i++) {
    watched.pass();
    t.is(watched.seconds, 0);
    t.is(watched.group!.quality, 'caught_up');
  }
  t.is(watched.group!.lagSeconds(watched.nowMs + 3_600_000), 0);
  t.is(watched.state.groups.get('g')!.status, 'ok');
});

test('a consumer that stopped: the seconds grow with the clock, between the passes too', (t) => {
  const watched = new Watched();
  watched.reads = 0;
  watched.committed = 0;
  for (let i = 0; i <= 6; i++) {
    watched.end = i * 50;
    watched.committed = Math.min(i, 3) * 50;
    watched.pass();
  }
  // 150 was the end at the fourth pass, 20 s after the beginning.
  t.is(watched.group!.quality, 'interpolated');
  t.is(watched.group!.lagSeconds(base + 35_000), 15);
  t.is(watched.group!.lagSeconds(base + 38_000), 18);
  t.is(watched.group!.lag, 150);
});

test('a consumer that moves has the lag of the pass, not more with every second until the next', (t) => {
  const watched = new Watched();
  watched.reads = 0;
  for (let i = 1; i <= 6; i++) {
    watched.end = i * 50;
    watched.committed = (i - 1) * 50;
    watched.pass();
  }
  t.is(watched.seconds, 5);
  t.is(watched.group!.lagSeconds(watched.nowMs + 4_000), 5);
});

test('the record at the offset says more than the table, and is read once', (t) => {
  const watched = new Watched();
  watched.committed = 10;
  watched.end = 100;
  watched.record = (offset) => ({ offset, timestampMs: base - 50_000 + offset * 1_000 });
  watched.pass();
  t.is(watched.group!.quality, 'fetched');
  t.is(watched.seconds, 45);
  watched.record = undefined;
  watched.pass();
  t.is(watched.group!.quality, 'fetched');
  t.is(watched.seconds, 50);
});

test('only a transaction marker is left: caught up, until a record comes after it', (t) => {
  const watched = new Watched();
  watched.end = 101;
  watched.committed = 100;
  watched.record = () => undefined;
  watched.nextOffset = () => 101;
  watched.pass();
  t.is(watched.group!.quality, 'caught_up');
  t.is(watched.group!.lag, 0);
  t.is(watched.state.groups.get('g')!.status, 'ok');
  watched.end = 103;
  watched.record = (offset) => ({ offset, timestampMs: watched.nowMs - 1_000 });
  watched.pass();
  t.is(watched.group!.lag, 2);
  t.is(watched.group!.quality, 'fetched');
});

test('a compacted topic with gaps: the next record that there is counts', (t) => {
  const watched = new Watched();
  watched.end = 1_000;
  watched.committed = 100;
  watched.record = () => ({ offset: 950, timestampMs: base - 20_000 });
  watched.pass();
  t.is(watched.group!.lag, 50);
  t.is(watched.seconds, 25);
  watched.pass();
  t.is(watched.group!.lag, 50);
});

test('committed below the log start: the log start counts, and the retention is used up', (t) => {
  const watched = new Watched();
  watched.start = 400;
  watched.end = 1_000;
  watched.committed = 100;
  watched.record = (offset) => ({ offset, timestampMs: base - 100_000 + offset * 100 });
  watched.pass();
  t.is(watched.group!.lag, 600);
  t.is(watched.seconds, 65);
  t.is(watched.group!.retentionUsed, 1);
});

test('records that were old when they came use up the retention by their own timestamps, and wait since they came', (t) => {
  const watched = new Watched();
  watched.committed = 0;
  watched.pass();
  watched.state.seeRetention('t', { deletes: true, ms: 1_000_000, bytes: undefined });
  watched.end = 10;
  watched.record = (offset) => ({ offset, timestampMs: base - 750_000 });
  watched.pass();
  watched.pass();
  t.is(watched.group!.quality, 'interpolated');
  t.true(watched.seconds! <= 10);
  t.is(watched.group!.retentionUsed, 0.765);
});

test('an offset that was reset backwards is a rewind with the lag of where it is now', (t) => {
  const watched = new Watched();
  watched.record = (offset) => ({ offset, timestampMs: base - 100_000 + offset * 100 });
  watched.end = 1_000;
  watched.committed = 900;
  watched.pass();
  watched.committed = 200;
  watched.pass();
  t.is(watched.state.groups.get('g')!.status, 'rewind');
  t.is(watched.group!.lag, 800);
  t.is(watched.seconds, 90);
});

test('nobody there and lag: stopped; somebody there and no progress: stalled', (t) => {
  for (const [members, expected] of [
    [0, 'stop'],
    [1, 'stall'],
  ] as const) {
    const watched = new Watched();
    watched.members = members;
    watched.end = 100;
    watched.committed = 50;
    for (let i = 0; i < 12; i++) {
      watched.pass();
      t.is(watched.state.groups.get('g')!.status, 'ok');
    }
    watched.pass();
    watched.pass();
    t.is(watched.state.groups.get('g')!.status, expected);
  }
});

test('a topic created anew under the same name begins anew, though its end is higher than ever', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 90;
  watched.pass();
  watched.pass();
  watched.id = 'second';
  watched.end = 500;
  watched.committed = 20;
  watched.pass();
  t.is(watched.state.groups.get('g')!.status, 'ok');
  t.is(watched.state.topics.get('t')!.partitions.get(0)!.table.length, 1);
  t.is(watched.samples.get('kafka_topic_partition_offset_decreases_total{topic="t",partition="0"}'), 0);
  t.is(watched.group!.lag, 480);
});

test('an end that goes back without that is counted, and nothing becomes negative', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 100;
  watched.pass();
  watched.end = 80;
  watched.pass();
  t.is(watched.samples.get('kafka_topic_partition_offset_decreases_total{topic="t",partition="0"}'), 1);
  t.true([...watched.samples.values()].every((value) => value >= 0));
});

test('without a leader everything of the partition stays, and a group that stands still waits on', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 50;
  watched.record = (offset) => ({ offset, timestampMs: base });
  watched.pass();
  watched.pass();
  const before = [...watched.samples.keys()];
  watched.leader = -1;
  watched.pass();
  t.deepEqual([...watched.samples.keys()], before);
  t.is(watched.samples.get('kafka_topic_partition_leader{topic="t",partition="0"}'), -1);
  t.is(watched.samples.get('kafka_topic_partition_current_offset{topic="t",partition="0"}'), 100);
  t.is(watched.seconds, 15);
  t.is(watched.group!.quality, 'fetched');
});

test('a partition that never had a leader is unknown and zero, not NaN', (t) => {
  const watched = new Watched();
  watched.leader = -1;
  watched.committed = 7;
  watched.pass();
  t.is(watched.group!.quality, 'unknown');
  t.is(watched.seconds, 0);
  t.true([...watched.samples.values()].every(Number.isFinite));
});

test('a group that was deleted goes after some whole passes, not in one that could not ask everybody', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 50;
  watched.pass();
  watched.groups = [];
  watched.wholeListing = false;
  for (let i = 0; i < 10; i++) watched.pass();
  t.truthy(watched.group);
  watched.wholeListing = true;
  for (let i = 1; i < passesUntilGone; i++) watched.pass();
  t.truthy(watched.group);
  watched.pass();
  t.is(watched.group, undefined);
  t.false([...watched.samples.keys()].some((name) => name.includes('consumergroup="g"')));
});

test('passes that come quickly do not make a group disappear sooner', (t) => {
  const state = new ClusterState({ ...settings, goneAfterMs: 15_000 });
  state.seeGroups(new Set(['g']), true, base);
  for (let ms = 1_000; ms <= 15_000; ms += 1_000) {
    state.seeGroups(new Set(), true, base + ms);
    t.true(state.groups.has('g'));
  }
  state.seeGroups(new Set(), true, base + 16_000);
  t.false(state.groups.has('g'));
});

test('a topic that was deleted goes after some passes, with what groups had of it', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 50;
  watched.pass();
  watched.topics = false;
  watched.leader = -1;
  for (let i = 1; i < passesUntilGone; i++) watched.pass();
  t.true(watched.state.topics.has('t'));
  watched.pass();
  t.false(watched.state.topics.has('t'));
  t.is(watched.group, undefined);
});

test('an offset that expired goes at once; the group stays', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 50;
  watched.pass();
  watched.committed = undefined;
  watched.pass();
  t.is(watched.group, undefined);
  t.is(watched.samples.get('kafka_consumergroup_members{consumergroup="g"}'), 1);
});

test('every partition has its turn to be read, however few reads there are', (t) => {
  const state = new ClusterState(settings);
  const partitions = Array.from({ length: 30 }, (_, partition) => ({
    partition,
    leader: 1,
    replicas: [1],
    inSync: [1],
  }));
  const read = new Set<number>();
  for (let pass = 0; pass < 12; pass++) {
    state.seeTopology([1], [{ name: 't', id: 'a', partitions }], base);
    state.seeGroups(new Set(['g']), true, base);
    for (const { partition } of partitions) {
      state.seeCommitted('g', 't', partition, 10);
      state.seeOffset('end', { topic: 't', partition }, 100, base + pass * 5_000);
    }
    const wanted = state.wanted(base + pass * 5_000, 5);
    t.true(wanted.length <= 5);
    for (const { partition } of wanted) read.add(partition);
    state.seeRecords(
      wanted,
      wanted.map(({ topic, partition, offset }) => ({
        topic,
        partition,
        from: offset,
        nextOffset: offset,
        record: { offset, timestampMs: base },
      })),
    );
    state.settle(base + pass * 5_000);
  }
  t.is(read.size, 30);
});

test('the oldest record is found also where a group moves on in every pass', (t) => {
  const watched = new Watched();
  watched.record = (offset) => ({ offset, timestampMs: base - 600_000 + offset * 1_000 });
  watched.start = 7;
  for (let i = 1; i <= 8; i++) {
    watched.end = i * 100;
    watched.committed = i * 100 - 50;
    watched.pass();
  }
  t.is(watched.state.topics.get('t')!.partitions.get(0)!.oldest?.offset, 7);
});

test('what was not answered is asked for first the next time: a batch of any size comes for the first', (t) => {
  const watched = new Watched();
  const partitions = [0, 1, 2, 3].map((partition) => ({ partition, leader: 1, replicas: [1], inSync: [1] }));
  const { state } = watched;
  const ask = () => {
    state.seeTopology([1], [{ name: 't', id: 'a', partitions }], base);
    state.seeGroups(new Set(['g']), true, base);
    for (const { partition } of partitions) {
      state.seeCommitted('g', 't', partition, 10);
      state.seeOffset('end', { topic: 't', partition }, 100, base);
    }
    return state.wanted(base, 4);
  };
  const first = ask();
  t.is(first.length, 4);
  const tooBig = first[2]!.partition;
  state.seeRecords(
    first,
    first
      .filter(({ partition }) => partition !== tooBig)
      .map(({ topic, partition, offset }) => ({
        topic,
        partition,
        from: offset,
        nextOffset: 60,
        record: undefined,
      })),
  );
  t.is(ask()[0]!.partition, tooBig);
});

test('what is scraped is OpenMetrics: labels escaped, each family named once', (t) => {
  const state = new ClusterState(settings);
  state.seeTopology(
    [1],
    [{ name: 't', id: 'a', partitions: [{ partition: 0, leader: 1, replicas: [1], inSync: [1] }] }],
    base,
  );
  state.seeGroups(new Set(['a "quoted" \\ group\n']), true, base);
  state.seeCommitted('a "quoted" \\ group\n', 't', 0, 3);
  state.seeOffset('end', { topic: 't', partition: 0 }, 5, base);
  state.settle(base);
  const text = [...lagMetricText(state, () => base)].join('');
  t.true(
    text.includes(
      'kafka_consumergroup_lag{consumergroup="a \\"quoted\\" \\\\ group\\n",topic="t",partition="0"} 2\n',
    ),
  );
  t.regex(text, /kafka_consumergroup_lag_seconds\{.*,quality="estimated"\} 0\n/);
  const types = text.split('\n').filter((line) => line.startsWith('# TYPE'));
  t.is(new Set(types).size, types.length);
  t.true(types.includes('# TYPE kafka_topic_partition_offset_decreases counter'));
});

test('an expected group that does not exist lags by everything since the log start, and nobody reads for it', (t) => {
  const watched = new Watched(new Map([['g', ['t']]]));
  watched.groups = [];
  watched.members = 0;
  watched.start = 40;
  watched.end = 100;
  watched.record = (offset) => ({ offset, timestampMs: base - 30_000 });
  watched.pass();
  watched.state.seeRetention('t', { deletes: true, ms: 350_000, bytes: undefined });
  watched.state.settle(watched.nowMs);
  t.is(watched.group!.lag, 60);
  t.is(watched.group!.quality, 'uncommitted');
  t.is(watched.seconds, 35);
  const group = 'consumergroup="g",topic="t",partition="0"';
  t.is(watched.samples.get(`kafka_consumergroup_lag{${group}}`), 60);
  t.is(watched.samples.get(`kafka_consumergroup_lag_seconds{${group},quality="uncommitted"}`), 35);
  t.is(watched.samples.get('kafka_consumergroup_members{consumergroup="g"}'), 0);
  t.false(watched.samples.has(`kafka_consumergroup_current_offset{${group}}`));
  // What was deleted before its time is not lost to it.
  t.is(watched.group!.retentionUsed, 0.1);
  for (let i = 0; i < 20; i++) watched.pass();
  t.is(watched.state.groups.get('g')!.status, 'stop');
});

test('an expected group with nothing to read has a series of zero and no alarm', (t) => {
  const watched = new Watched(new Map([['g', ['t']]]));
  watched.groups = [];
  watched.members = 0;
  watched.start = 100;
  watched.end = 100;
  for (let i = 0; i < 30; i++) watched.pass();
  t.is(watched.group!.lag, 0);
  t.is(watched.group!.quality, 'caught_up');
  t.is(watched.group!.retentionUsed, 0);
  t.is(watched.state.groups.get('g')!.status, 'ok');
});

test('an expected group with members that commits nothing stalls; its first commit begins anew', (t) => {
  const watched = new Watched(new Map([['g', ['t']]]));
  watched.end = 100;
  for (let i = 0; i < 20; i++) watched.pass();
  t.is(watched.group!.lag, 100);
  t.is(watched.state.groups.get('g')!.status, 'stall');
  watched.committed = 90;
  watched.pass();
  t.is(watched.group!.lag, 10);
  t.not(watched.group!.quality, 'uncommitted');
  t.is(watched.group!.committed, 90);
  t.is(watched.state.groups.get('g')!.status, 'ok');
});

test('an expected group whose commits are gone is expected again, and so is one that was deleted', (t) => {
  const watched = new Watched(new Map([['g', ['t']]]));
  watched.end = 100;
  watched.committed = 100;
  watched.pass();
  t.is(watched.group!.lag, 0);
  watched.committed = undefined;
  watched.pass();
  t.is(watched.group!.lag, 100);
  watched.committed = 100;
  watched.pass();
  t.is(watched.group!.lag, 0);
  watched.groups = [];
  for (let i = 0; i < passesUntilGone; i++) watched.pass();
  t.is(watched.group!.lag, 100);
  t.is(watched.group!.committed, undefined);
});

test('a coordinator that does not answer makes no expected group uncommitted', (t) => {
  const watched = new Watched(new Map([['g', ['t']]]));
  watched.groups = [];
  watched.wholeListing = false;
  watched.end = 100;
  watched.pass();
  t.is(watched.group, undefined);
});

test('whose unread records were all deleted has used all of the retention', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 60;
  watched.pass();
  watched.start = 100;
  watched.pass();
  t.is(watched.group!.lag, 0);
  t.is(watched.group!.retentionUsed, 1);
});

test('only a transaction marker was deleted: nothing was lost', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 99;
  watched.record = () => undefined;
  watched.nextOffset = () => 100;
  watched.pass();
  watched.start = 100;
  watched.pass();
  t.is(watched.group!.retentionUsed, 0);
});

test('records were deleted unread, and what came after them was looked at: they are lost all the same', (t) => {
  const watched = new Watched();
  watched.end = 100;
  watched.committed = 60;
  watched.record = (offset) => ({ offset, timestampMs: base });
  watched.pass();
  watched.start = 80;
  watched.pass();
  watched.pass();
  t.is(watched.group!.quality, 'fetched');
  t.is(watched.group!.retentionUsed, 1);
});
