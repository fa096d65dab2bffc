/** The frame of a drill's page, its looks, and how figures are written. */

import { escapeHtml } from '../../workers/views/markup.ts';
import { fragmentOf } from '../../workers/views/page.ts';
import type { DrillReport } from '../drill.ts';

/** `5.1 s`, `2 min 05 s`; undefined is `otherwise`. */
export function seconds(ms: number | undefined, otherwise = 'none'): string {
  if (ms === undefined) return otherwise;
  // 119.96 s is 2 min, not 1 min 60 s.
  if (ms < 119_950) return `${(ms / 1_000).toFixed(1)} s`;
  const whole = Math.round(ms / 1_000);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** `2026-11-21 09:45:47 UTC`. */
export const utc = (atMs: number): string =>
  `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** Effects that happened more than once: harm, unlike what was merely told again. */
export const doubledOf = ({ verdicts }: DrillReport): number =>
  verdicts.flatMap(({ findings }) => findings).filter(({ kind }) => kind === 'doubled').length;

export const findingsOf = ({ verdicts }: DrillReport): number =>
  verdicts.reduce((sum, { findings }) => sum + findings.length, 0);

/** Upper bound in ms of a target's text (`<= 5.0 s`, `<= 2000 ms`, `<= 5 min`); undefined: it names none. */
export function boundMs(target: string): number | undefined {
  const [, number, unit] = /([\d.]+)\s*(ms|s|min)\b/.exec(target) ?? [];
  if (number === undefined) return undefined;
  return Number(number) * ({ ms: 1, s: 1_000, min: 60_000 }[unit!] ?? 1);
}

/** A whole HTML document that asks for nothing else. `dashboards`: sections of the preview, below everything. */
export function documentOf(
  title: string,
  body: string,
  dashboards: readonly { readonly html: string }[] = [],
): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark"><title>${escapeHtml(title)}</title><style>${styles}</style></head>
<body>${fragmentOf([{ html: `<main class="drill" id="report">${body}</main>` }, ...dashboards])}</body></html>
`;
}

/** Beside the preview's own; `--left` and `--right` are the sides of charts, in parts of their width. */
const styles = `
body{margin:0}.muster{min-height:100vh}
.drill{--good:#1a7f37;--bad:#c5283d;--warn:#9a6700;--soft-good:#dafbe1;--soft-bad:#ffe3e6;--left:6.5%;--right:3%;max-width:1120px;margin:0 auto;padding:28px 20px 40px;font-size:14px;line-height:1.5;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){.drill{--good:#57c46b;--bad:#ff6b7d;--warn:#e3b341;--soft-good:#12301c;--soft-bad:#3c1a20}}
.drill a{color:#3b7ddd}
.drill h1{font-size:28px;font-weight:600;line-height:1.2;margin:0}
.drill h2{font-size:17px;font-weight:600;margin:34px 0 8px}
.drill h3{font-size:14px;font-weight:600;margin:18px 0 4px}
.drill .weak,.drill .about{color:var(--muster-text-weak)}
.drill .about{font-size:15px;margin:6px 0 0;max-width:100ch}
.drill .good{color:var(--good)}.drill .bad{color:var(--bad)}
.drill .title{display:flex;flex-wrap:wrap;gap:10px 16px;align-items:center}
.drill .stamp{font-size:14px;font-weight:600;padding:4px 12px;border-radius:99px;background:var(--soft-good);color:var(--good)}
.drill .stamp.bad{background:var(--soft-bad);color:var(--bad)}
.drill .missed{margin:14px 0 0;padding:10px 14px;border-left:4px solid var(--bad);background:var(--soft-bad);border-radius:3px}
.drill .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:22px 0 0;padding:0;list-style:none}
.drill .tile{background:var(--muster-panel);border:1px solid var(--muster-border);border-radius:6px;padding:14px 16px}
.drill .tile{border-top:3px solid var(--good);color:var(--muster-text)}.drill .tile.bad{border-top-color:var(--bad)}.drill .tile.none{border-top-color:var(--muster-border)}
.drill .tile b{display:block;font-size:34px;font-weight:600;line-height:1.25;white-space:nowrap}
.drill .tile.bad b{color:var(--bad)}.drill .tile.none b{color:var(--muster-text-weak)}
.drill .tile em{font-style:normal;font-weight:600}
.drill .tile small{display:block;color:var(--muster-text-weak);font-size:12.5px}
.drill .meter{display:block;position:relative;height:6px;border-radius:3px;background:var(--muster-line);margin:8px 0 6px}
.drill .meter i{display:block;height:100%;border-radius:3px;background:var(--good)}.drill .bad .meter i{background:var(--bad)}
.drill .meter u{position:absolute;top:-3px;bottom:-3px;width:2px;background:var(--muster-text)}
.drill .facts{display:flex;flex-wrap:wrap;gap:4px 26px;margin:14px 0 0;padding:0;list-style:none;color:var(--muster-text-weak)}
.drill .facts b{color:var(--muster-text);font-weight:600}
.drill .axis{background:var(--muster-panel);border:1px solid var(--muster-border);border-radius:6px;padding:10px 0 4px}
.drill .lane,.drill .plot{display:grid;grid-template-columns:150px minmax(0,1fr);align-items:center}
.drill .lane>span,.drill .plot>div:first-child{padding:0 0 0 14px;font-size:12.5px}
.drill .lane>span{color:var(--muster-text-weak);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.drill .track{position:relative;height:26px;margin:0 var(--right) 0 var(--left)}
.drill .track:before{content:"";position:absolute;inset:12px 0 auto;border-top:1px solid var(--muster-line)}
.drill .track i{position:absolute;top:6px;height:14px;min-width:4px;border-radius:3px;background:var(--at)}
.drill .track i.open{border-radius:3px 0 0 3px;mask:linear-gradient(90deg,#000 80%,transparent)}
.drill .track span{position:absolute;top:3px;font-size:12px;line-height:20px;white-space:nowrap;padding:0 6px;max-width:60%;overflow:hidden;text-overflow:ellipsis}
.drill .track span.in{color:#fff}
.drill .plot{align-items:start;padding-top:8px;border-top:1px solid var(--muster-line);margin-top:6px}
.drill .plot h3{margin:4px 0 2px;font-size:13px}
.drill .plot p{margin:0;font-size:12px;color:var(--muster-text-weak)}
.drill .plot ul{list-style:none;margin:2px 8px 0 0;padding:0;font-size:12px}.drill .plot li{white-space:nowrap}
.drill .plot li i,.drill .key i{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:6px;vertical-align:3px}
.drill .key{display:flex;flex-wrap:wrap;gap:0 16px;list-style:none;margin:6px 0 0;padding:0;font-size:12px;color:var(--muster-text-weak)}
.drill .key i.band{height:11px;opacity:.4;vertical-align:-1px}.drill .key i.dash{width:0;height:12px;border-left:2px dashed;border-radius:0;vertical-align:-2px}
.drill .plot .chart{padding:0}
.drill .narrow{display:none}
.drill .scroll{overflow-x:auto}
.drill table{border-collapse:collapse;width:100%;font-size:13px;background:var(--muster-panel)}
.drill th{text-align:left;font-weight:500;color:var(--muster-text-weak);white-space:nowrap}
.drill th,.drill td{padding:6px 12px 6px 0;border-bottom:1px solid var(--muster-line);vertical-align:top}
.drill th:first-child,.drill td:first-child{padding-left:12px}
.drill .n,.drill .t{white-space:nowrap;width:1%}.drill .n{text-align:right}
.drill tr:last-child td{border-bottom:0}
.drill .box{background:var(--muster-panel);border:1px solid var(--muster-border);border-radius:6px;overflow:hidden}
.drill .box p{margin:10px 14px}
.drill code{font:12px/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;user-select:all;overflow-wrap:anywhere}
.drill summary{cursor:pointer;padding:8px 12px;color:var(--muster-text-weak)}
.drill dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 18px;margin:0;padding:12px 14px}
.drill dt{color:var(--muster-text-weak)}.drill dd{margin:0;overflow-wrap:anywhere}
.drill .pill{display:inline-block;padding:0 8px;border-radius:99px;font-size:12px;background:var(--soft-bad);color:var(--bad);white-space:nowrap}
.drill .kind{color:var(--at,var(--muster-text));font-weight:500}
@media (max-width:760px){
.drill{--left:15%;--right:7%;padding:18px 12px 30px}
.drill h1{font-size:23px}
.drill .tiles{grid-template-columns:1fr 1fr;gap:8px}.drill .tile{padding:10px 12px}.drill .tile b{font-size:25px}
.drill .wide{display:none}.drill .narrow{display:block}
.drill .lane,.drill .plot{display:block}
.drill .lane>span{display:block;padding-left:12px;line-height:1.3}.drill .plot>div:first-child{padding-left:12px}.drill .plot ul{display:flex;flex-wrap:wrap;gap:0 12px}
.drill .track{height:22px}.drill .track i{top:3px}.drill .track span{top:0}.drill .track:before{inset:9px 0 auto}
.drill .stacked thead{display:none}.drill .stacked tr{display:block;padding:6px 0;border-bottom:1px solid var(--muster-line)}.drill .stacked tr td{display:block;border:0;padding:1px 12px}
.drill .events th:first-child,.drill .events td:first-child{display:none}.drill .events .n{padding-left:12px}.drill .events th.n{white-space:normal}
.drill dl{display:block}.drill dd{margin-bottom:6px}
}
@media print{.drill .box,.drill .tile,.drill .plot{break-inside:avoid}}
`;
