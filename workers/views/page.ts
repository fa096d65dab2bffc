/** Dashboards side by side on one page that needs nothing else: no script, no font, no network. Pure. */

import { colorOf } from './colors.ts';
import { escapeHtml } from './markup.ts';
import type { Mark, Panel } from './model.ts';

/** Grafana's grid: 24 columns, a unit of height and the gap between panels, in pixels. */
const grid = { columns: 24, unit: 30, gap: 8 } as const;
/** Width of a dashboard for which charts are drawn; on the page they stretch. */
export const dashboardWidth = 1400;
const titleHeight = 32;
const padding = 10;

/** Room inside a panel, below its title. */
export function insideOf({ gridPos: { w, h } }: Panel): { width: number; height: number } {
  const column = (dashboardWidth - (grid.columns - 1) * grid.gap) / grid.columns;
  return {
    width: Math.round(w * column + (w - 1) * grid.gap - 2 * padding),
    height: Math.round(h * grid.unit + (h - 1) * grid.gap - titleHeight - padding),
  };
}

export interface DrawnPanel {
  readonly panel: Panel;
  /** With its frame and title; needs `styles`. */
  readonly html: string;
  readonly empty: boolean;
}

export interface DrawnDashboard {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly panels: readonly DrawnPanel[];
  readonly marks: readonly Mark[];
  /** The whole dashboard as one `<section>`; needs `styles`. */
  readonly html: string;
}

/** A panel with its frame around what was drawn. */
export function framed(panel: Panel, inside: string): string {
  if (panel.type === 'row') return `<h3 class="row">${escapeHtml(panel.title)}</h3>`;
  const about = escapeHtml(panel.description ?? '');
  return `<article class="panel ${panel.type}"><h4 title="${about}">${escapeHtml(panel.title)}</h4>${inside}</article>`;
}

/** A dashboard as one section. */
export function sectionOf(drawn: Omit<DrawnDashboard, 'html'>): string {
  const cells = drawn.panels.map(({ panel, html }) => {
    const { x, y, w, h } = panel.gridPos;
    return `<div style="grid-column:${x + 1}/span ${w};grid-row:${y + 1}/span ${h}">${html}</div>`;
  });
  const counted = new Map<string, { color: string; count: number }>();
  for (const { text, color } of drawn.marks)
    counted.set(text, { color, count: (counted.get(text)?.count ?? 0) + 1 });
  const marks = [...counted]
    .slice(0, 12)
    .map(
      ([text, { color, count }]) =>
        `<li><i style="border-color:${colorOf(color)}"></i>${escapeHtml(text)}${count > 1 ? ` ×${count}` : ''}</li>`,
    )
    .join('');
  return `<section class="dashboard" id="${escapeHtml(drawn.uid)}"><header><h2>${escapeHtml(drawn.title)}</h2><p>${escapeHtml(drawn.description)}</p>${marks === '' ? '' : `<ul class="marks">${marks}</ul>`}</header><div class="grid">${cells.join('')}</div></section>`;
}

/** Dashboards, or single panels, to be put into another page. */
export function fragmentOf(parts: readonly { readonly html: string }[]): string {
  return `<style>${styles}</style><div class="muster">${parts.map(({ html }) => html).join('\n')}</div>`;
}

/** Looks of everything above; dark or light as the reader's system is. */
export const styles = `
.muster{--muster-page:#f4f5f5;--muster-panel:#fff;--muster-border:#e1e3e8;--muster-line:#e9eaee;--muster-text:#24292e;--muster-text-weak:#646974;--muster-link:#1f60c4;--muster-colored:40%;color-scheme:light dark;background:var(--muster-page);color:var(--muster-text);font:13px/1.4 Inter,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){.muster{--muster-page:#111217;--muster-panel:#181b1f;--muster-border:#25272e;--muster-line:#26292f;--muster-text:#d5d6dc;--muster-text-weak:#9a9da7;--muster-link:#6e9fff;--muster-colored:100%}}
.muster .dashboard{max-width:${dashboardWidth}px;margin:0 auto;padding:20px 16px 28px}
.muster header h2{font-size:20px;font-weight:500;margin:0}
.muster header p{margin:2px 0 0;color:var(--muster-text-weak)}
.muster .marks,.muster .legend{list-style:none;display:flex;flex-wrap:wrap;margin:0;padding:0;gap:0 14px;overflow:hidden}
.muster .marks{margin-top:6px;font-size:12px;color:var(--muster-text-weak)}
.muster .marks i{display:inline-block;height:11px;border-left:2px dashed;margin-right:6px;vertical-align:-1px}
.muster .grid{display:grid;grid-template-columns:repeat(24,minmax(0,1fr));grid-auto-rows:${grid.unit}px;gap:${grid.gap}px;margin-top:10px}
.muster .grid>div{display:grid;min-width:0;min-height:0}.muster .row{margin:0;font-size:14px;font-weight:500;align-self:end;padding-bottom:2px}
.muster .panel{min-height:0;background:var(--muster-panel);border:1px solid var(--muster-border);border-radius:3px;overflow:hidden;display:flex;flex-direction:column;min-width:0}
.muster .panel h4{font-size:13px;font-weight:500;margin:0;padding:0 ${padding}px;line-height:${titleHeight}px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;flex:none}
.muster .chart{display:block;width:100%;height:auto;padding:0 ${padding}px;box-sizing:border-box;flex:none}
.muster .legend{padding:0 ${padding}px;font-size:11.5px;line-height:${18}px;color:var(--muster-text)}
.muster .legend li{white-space:nowrap}
.muster .legend i{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:6px;vertical-align:3px}
.muster .big{position:relative;flex:1;margin:0;display:flex;align-items:center;justify-content:center;padding-top:14px;color:#fff;background:linear-gradient(120deg,color-mix(in srgb,var(--stat) 82%,#000),var(--stat))}
.muster .panel.stat{position:relative}.muster .panel.stat h4{position:absolute;z-index:1;color:#fff;max-width:100%;box-sizing:border-box}
.muster .big b{font-size:30px;font-weight:500;position:relative;white-space:nowrap}
.muster .big small{font-size:.62em;font-weight:400}
.muster .spark{position:absolute;inset:auto 0 0 0;width:100%;height:38%}
.muster .nothing{margin:auto;color:var(--muster-text-weak)}
.muster .words{padding:0 ${padding}px}
.muster .bars{border-spacing:0 4px;line-height:1.2;padding:0 ${padding}px;width:100%;font-size:12px}
.muster .bars th{font-weight:400;text-align:left;white-space:nowrap;padding-right:10px;width:1%}
.muster .bars td:last-child{white-space:nowrap;text-align:right;padding-left:10px;width:1%;font-weight:500}
.muster .bar{display:block;background:var(--muster-line);height:var(--bar);border-radius:2px;overflow:hidden}
.muster .bar i{display:block;height:100%;border-radius:2px}
.muster .scroll{overflow:auto;flex:1}
.muster .rows{border-collapse:collapse;width:100%;font-size:12px}
.muster .rows th{position:sticky;top:0;background:var(--muster-panel);text-align:left;font-weight:500;color:var(--muster-link);white-space:nowrap}
.muster .colored{color:color-mix(in srgb,var(--state) var(--muster-colored),var(--muster-text))}
.muster .rows th,.muster .rows td{padding:4px ${padding}px;border-bottom:1px solid var(--muster-line)}
.muster .rows td{white-space:nowrap;max-width:190px;overflow:hidden;text-overflow:ellipsis}
.muster .rows .number{text-align:right;font-variant-numeric:tabular-nums}
@media (max-width:760px){.muster .grid{display:block}.muster .panel{margin:8px 0;min-height:110px}.muster .row{margin:18px 0 6px}}
@media print{.muster .dashboard{break-before:page}}
`;

/** A whole HTML document. `subtitle` says where and when. */
export function pageOf(title: string, subtitle: string, dashboards: readonly DrawnDashboard[]): string {
  const links = dashboards.map(
    ({ uid, title: name }) => `<a href="#${escapeHtml(uid)}">${escapeHtml(name)}</a>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escapeHtml(title)}</title><style>body{margin:0}${styles}
.muster>nav{max-width:${dashboardWidth}px;margin:0 auto;padding:16px 16px 0}.muster>nav h1{font-size:22px;font-weight:500;margin:0}.muster>nav p{margin:2px 0 8px;color:var(--muster-text-weak)}.muster>nav a{color:var(--muster-link);text-decoration:none;margin-right:14px;white-space:nowrap}</style></head>
<body><div class="muster"><nav><h1>${escapeHtml(title)}</h1><p>${escapeHtml(subtitle)}</p>${links.join(' ')}</nav>
${dashboards.map(({ html }) => html).join('\n')}
</div></body></html>
`;
}
