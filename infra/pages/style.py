"""The style sheet of report pages: light and dark screens, phones, print."""

from genremill.infra.pages.markup import Markup

STYLE = Markup("""
:root {
  --paper: #ffffff; --ink: #1b1f24; --muted: #5f6670; --rule: #e3e5e8; --ground: #f5f6f7;
  --accent: #20588a; --second: #c2571a; --third: #3b7a57; --warn-ground: #fdf1e7; --on-accent: #ffffff;
  --group-0: #20588a; --group-1: #b4531b; --group-2: #3b7a57; --group-3: #7a4b94;
  --group-4: #9c3d54; --group-5: #35777e; --group-6: #7d6a1d; --group-7: #555e6b;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e4e6e9; --muted: #9aa3ad; --rule: #2c3138; --ground: #1d2126;
    --accent: #7db5e3; --second: #eda066; --third: #86c3a0; --warn-ground: #35261a; --on-accent: #10151a;
    --group-0: #7db5e3; --group-1: #eda066; --group-2: #86c3a0; --group-3: #c3a0dc;
    --group-4: #e393a7; --group-5: #7cc4cb; --group-6: #cdb964; --group-7: #aab3be;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font-size: 16px; line-height: 1.55;
  font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1240px; margin: 0 auto; padding: 56px 40px 80px; }
h1, h2 { font-weight: 650; letter-spacing: -0.015em; line-height: 1.2; }
h1 { font-size: 34px; margin: 0 0 14px; overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 0 0 16px; }
p { margin: 0 0 14px; max-width: 72ch; }
section { margin-top: 52px; padding-top: 22px; border-top: 1px solid var(--rule); }
.eyebrow { color: var(--muted); font-size: 13px; letter-spacing: 0.02em; margin-bottom: 8px; }
.lead { font-size: 18px; color: var(--muted); }
.absent { color: var(--muted); font-style: italic; }
.warning {
  background: var(--warn-ground); border-left: 4px solid var(--second);
  padding: 14px 18px; margin: 22px 0; max-width: 82ch;
}
.stats {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 1px; margin-top: 32px;
  background: var(--rule); border: 1px solid var(--rule);
}
.stat { background: var(--paper); padding: 18px 20px 16px; }
.stat p { margin: 0; }
.stat-label, .stat-detail { font-size: 13px; line-height: 1.5; color: var(--muted); }
.stat-value { font-size: 30px; line-height: 1.3; font-weight: 600; letter-spacing: -0.02em; }
.side-by-side { display: flex; flex-wrap: wrap; gap: 32px 40px; align-items: flex-start; }
a { color: inherit; }
.side-by-side > * { max-width: 100%; }
.side-by-side > figure { width: min-content; }
figure { margin: 0 0 24px; }
figcaption { font-size: 14px; line-height: 1.45; color: var(--muted); max-width: 72ch; margin-top: 8px; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
table {
  border-collapse: collapse; font-size: 14px; line-height: 1.4;
  width: max-content; max-width: max(100%, 960px);
}
.scroll + .caption, .stats + div, div:has(> .caption) + div:has(> .caption) { margin-top: 24px; }
.stats + figure { margin-top: 24px; }
.caption { font-size: 14px; color: var(--muted); margin-bottom: 8px; }
th, td { padding: 5px 0 5px 28px; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
thead th { font-weight: 600; color: var(--muted); font-size: 13px; white-space: nowrap; }
tbody th { font-weight: 500; }
.text { text-align: left; }
.number { text-align: right; white-space: nowrap; }
dl { margin: 0; font-size: 14px; max-width: 820px; }
dl div {
  display: grid; grid-template-columns: minmax(120px, 200px) 1fr; gap: 16px;
  padding: 5px 0; border-bottom: 1px solid var(--rule);
}
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
.chart { display: block; color: var(--ink); font-size: 12px; }
.chart text { fill: currentColor; }
.chart .tick, .chart .axis-label, .chart .place-name { fill: var(--muted); }
.grid { stroke: var(--rule); }
.axis { stroke: var(--muted); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.mark { stroke: var(--paper); stroke-width: 1; }
.line.series-0 { stroke: var(--accent); }
.line.series-1 { stroke: var(--second); stroke-dasharray: 7 3; }
.line.series-2 { stroke: var(--third); stroke-dasharray: 2 3; }
.line.guide { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 3 4; }
.mark.series-0, .heat, .meter-fill { fill: var(--accent); }
.mark.series-1, .heat-negative { fill: var(--second); }
.mark.series-2 { fill: var(--third); }
.heat-ground { fill: var(--ground); }
.heat-number { font-size: 10px; }
.chart .heat-number.strong { fill: var(--on-accent); }
.outline { fill: none; stroke: var(--ink); stroke-opacity: 0.55; }
.meter { margin-left: 10px; }
.meter-ground { fill: var(--rule); }
.place-name { font-size: 11px; }
.chart .place-number { font-size: 9px; font-weight: 600; fill: var(--paper); }
.group-0 { fill: var(--group-0); }
.group-1 { fill: var(--group-1); }
.group-2 { fill: var(--group-2); }
.group-3 { fill: var(--group-3); }
.group-4 { fill: var(--group-4); }
.group-5 { fill: var(--group-5); }
.group-6 { fill: var(--group-6); }
.group-7 { fill: var(--group-7); }
@media (max-width: 640px) {
  main { padding: 28px 18px 56px; }
  h1 { font-size: 26px; }
  .lead { font-size: 16px; }
  section { margin-top: 40px; }
  .stats { grid-template-columns: 1fr 1fr; }
  .stat { padding: 12px 14px; }
  .stat-value { font-size: 24px; }
  th, td { padding-left: 18px; }
  dl div { grid-template-columns: 1fr; gap: 0; }
}
@media print {
  @page { margin: 14mm; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  .stats { grid-template-columns: repeat(3, 1fr); }
  .side-by-side > figure { width: 46%; }
  .chart { max-width: 100%; height: auto; }
  table, dl { font-size: 11px; }
  figure, tr, dl, .stat, .warning { break-inside: avoid; }
  h2, .caption { break-after: avoid; }
}
""")
