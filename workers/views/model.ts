/** The parts of Grafana's dashboard JSON that the preview understands. */

export interface Target {
  readonly refId: string;
  readonly expr?: string;
  readonly legendFormat?: string;
  readonly exemplar?: boolean;
  readonly instant?: boolean;
  readonly format?: string;
  readonly queryType?: string;
}

export interface Threshold {
  readonly value: number | null;
  readonly color: string;
}

export interface ValueMapping {
  readonly type: string;
  readonly options: Readonly<Record<string, { readonly text?: string; readonly color?: string }>>;
}

/** What applies to all values of a panel, or by an override to one column. */
export interface FieldDefaults {
  readonly unit?: string;
  readonly decimals?: number;
  readonly min?: number;
  readonly max?: number;
  readonly noValue?: string;
  readonly mappings?: readonly ValueMapping[];
  readonly thresholds?: { readonly steps: readonly Threshold[] };
  readonly custom?: {
    readonly fillOpacity?: number;
    readonly lineWidth?: number;
    readonly stacking?: { readonly mode?: string };
    readonly scaleDistribution?: { readonly type?: string };
    readonly thresholdsStyle?: { readonly mode?: string };
  };
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
  readonly transformations?: readonly { readonly id: string; readonly options: unknown }[];
  readonly fieldConfig?: {
    readonly defaults: FieldDefaults;
    readonly overrides?: readonly {
      readonly matcher: { readonly id: string; readonly options?: unknown };
      readonly properties: readonly { readonly id: string; readonly value?: unknown }[];
    }[];
  };
  readonly options?: {
    readonly content?: string;
    readonly mode?: string;
    readonly colorMode?: string;
    readonly graphMode?: string;
    readonly sortBy?: readonly { readonly displayName: string; readonly desc?: boolean }[];
  };
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly description?: string;
  readonly panels: readonly Panel[];
  readonly templating?: {
    readonly list: readonly {
      readonly type: string;
      readonly name: string;
      readonly label?: string;
      readonly allValue?: string;
      readonly query?: string | { readonly query: string };
      readonly current?: { readonly value?: string | readonly string[] };
    }[];
  };
  readonly annotations?: {
    readonly list?: readonly {
      readonly name: string;
      readonly enable?: boolean;
      readonly iconColor?: string;
      readonly expr?: string;
      readonly titleFormat?: string;
    }[];
  };
}

/** Points of a line; null where there is none. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [timeMs: number, value: number | null])[];
  /** Undefined: the next of the palette. */
  readonly color?: string;
}

/** An observation, and the trace of what was observed. */
export type Exemplar = readonly [timeMs: number, value: number, traceId?: string];

/** A mark across all time axes. */
export interface Mark {
  readonly timeMs: number;
  readonly text: string;
  readonly color: string;
}

/** A tinted span of all time axes. */
export interface Band {
  readonly fromMs: number;
  readonly toMs: number;
  readonly color: string;
}
