/** A dashboard as Grafana would show it, drawn from live data. */
import type { Dashboard, Mark, Panel } from './model.ts';
import { type DrawnDashboard, framed, insideOf, sectionOf } from './page.ts';
import { drawPanel, type Sources } from './panels.ts';
import { type Chosen, marksOf, type Resolution, variablesOf } from './queries.ts';

export interface DashboardOptions {
  /** Beside those of the dashboard's own annotations. */
  readonly marks?: readonly Mark[];
  readonly chosen?: Chosen;
}

export async function drawDashboard(
  dashboard: Dashboard,
  resolution: Resolution,
  sources: Sources,
  options: DashboardOptions = {},
): Promise<DrawnDashboard> {
  const asked = await variablesOf(dashboard, resolution, sources.prometheus, options.chosen);
  const marks = [...(await marksOf(dashboard, asked, sources.prometheus)), ...(options.marks ?? [])];
  const panels = await Promise.all(
    dashboard.panels.map(async (panel: Panel) => {
      if (panel.type === 'row') return { panel, html: framed(panel, ''), empty: false };
      const drawn = await drawPanel(panel, asked, sources, insideOf(panel), marks);
      return { panel, html: framed(panel, drawn.html), empty: drawn.empty };
    }),
  );
  const { uid, title, description = '' } = dashboard;
  const parts = { uid, title, description, panels, marks };
  return { ...parts, html: sectionOf(parts) };
}
