/** Lag seconds against the truth: how far off, and a chart of both. */
import * as echarts from 'echarts';

export interface Sample {
  readonly load: string;
  /** Since the consumer stopped. */
  readonly atSeconds: number;
  readonly stopped: boolean;
  readonly quality: string;
  readonly truth: number;
  readonly shown: number;
}

const within = ({ truth, shown }: Sample) => Math.abs(shown - truth) <= Math.max(1, truth / 10);
const rounded = (value: number) => Math.round(value * 1_000) / 1_000;

/**
 * For each load: the largest error once the worker has had `settleSeconds` to see that the consumer stands still, the
 * share of samples within 10 % or 1 s of the truth, then and over all samples, and how the values were found.
 */
export function summarise(samples: readonly Sample[], settleSeconds: number): Record<string, unknown> {
  const figures: Record<string, unknown> = {};
  for (const load of new Set(samples.map((sample) => sample.load))) {
    const all = samples.filter((sample) => sample.load === load);
    const settled = all.filter(({ stopped, atSeconds }) => stopped && atSeconds >= settleSeconds);
    const share = (list: readonly Sample[]) => rounded(list.filter(within).length / Math.max(1, list.length));
    const qualities: Record<string, number> = {};
    for (const { quality } of all) qualities[quality] = (qualities[quality] ?? 0) + 1;
    figures[load] = {
      samples: all.length,
      longestLagSeconds: rounded(Math.max(...all.map(({ truth }) => truth))),
      stoppedLargestErrorSeconds: rounded(
        Math.max(...settled.map(({ truth, shown }) => Math.abs(shown - truth))),
      ),
      stoppedWithin: share(settled),
      allWithin: share(all),
      qualities,
      reached: settled.every(within),
    };
  }
  return figures;
}

const colours: Record<string, string> = { steady: '#1f6feb', bursty: '#d9730d', idle: '#57606a' };

/** Truth as thin lines, what was shown as thick pale ones over them; the error below. */
export function truthChart(samples: readonly Sample[], stoppedSeconds: number): string {
  const loads = [...new Set(samples.map((sample) => sample.load))];
  const points = (load: string, value: (sample: Sample) => number) =>
    samples.filter((sample) => sample.load === load).map((sample) => [sample.atSeconds, value(sample)]);
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 960, height: 560 });
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: {
      text: 'Lag seconds against the truth',
      subtext: `a consumer that stops at 0 s and goes on at ${stoppedSeconds} s; worker cycle 5 s, scraped every second`,
      left: 16,
      top: 10,
    },
    legend: {
      top: 58,
      left: 120,
      icon: 'roundRect',
      itemWidth: 14,
      itemHeight: 4,
      itemGap: 24,
      data: loads.flatMap((load) => [`${load}: truth`, `${load}: shown`]),
    },
    grid: [
      { left: 64, right: 24, top: 100, height: 260 },
      { left: 64, right: 24, top: 420, height: 90 },
    ],
    xAxis: [0, 1].map((gridIndex) => ({
      gridIndex,
      type: 'value',
      min: 0,
      max: Math.ceil(Math.max(...samples.map(({ atSeconds }) => atSeconds)) / 10) * 10,
      name: gridIndex === 1 ? 'seconds since the consumer stopped' : '',
      nameLocation: 'middle',
      nameGap: 28,
    })),
    yAxis: [
      { gridIndex: 0, type: 'value', name: 'lag (s)', min: 0 },
      { gridIndex: 1, type: 'value', name: 'error: shown - truth (s)', nameTextStyle: { align: 'left' } },
    ],
    series: loads.flatMap((load) => [
      {
        name: `${load}: shown`,
        type: 'line',
        data: points(load, ({ shown }) => shown),
        showSymbol: false,
        lineStyle: { width: 7, opacity: 0.35 },
        color: colours[load],
      },
      {
        name: `${load}: truth`,
        type: 'line',
        data: points(load, ({ truth }) => truth),
        showSymbol: false,
        lineStyle: { width: 1.5 },
        color: colours[load],
      },
      {
        type: 'line',
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: points(load, ({ truth, shown }) => shown - truth),
        showSymbol: false,
        lineStyle: { width: 1.5 },
        color: colours[load],
      },
    ]),
  } as never);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}
