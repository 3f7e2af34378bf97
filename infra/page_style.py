"""The style sheet of report pages: light, dark, phone and print."""

from genremill.infra.markup import Markup

STYLE = Markup("""
:root {
  --paper: #ffffff; --ink: #1b1f24; --muted: #5f6670; --rule: #e3e5e8; --ground: #f5f6f7;
  --accent: #20588a; --second: #c2571a; --third: #3b7a57; --warn-ground: #fdf1e7; --on-accent: #ffffff;
  --group-0: #20588a; --group-1: #b4531b; --group-2: #3b7a57; --group-3: #7a4b94;
  --group-4: #9c3d54; --group-5: #35777e; --group-6: #7d6a1d; --group-7: #555e6b;
}
@media (prefers-color-scheme: dark) {
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
  margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 ui-sans-serif, system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums;
}
main { max-width: 1240px; margin: 0 auto; padding: 56px 40px 80px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; font-weight: 650; margin: 0 0 14px; overflow-wrap: anywhere; }
h2 { font-size: 20px; line-height: 1.3; letter-spacing: -0.01em; font-weight: 650; margin: 0 0 12px; }
p { margin: 0 0 14px; max-width: 72ch; }
section { margin-top: 56px; padding-top: 20px; border-top: 1px solid var(--rule); }
.eyebrow { color: var(--muted); font-size: 13px; letter-spacing: 0.02em; margin-bottom: 8px; }
.lead { font-size: 18px; color: var(--muted); }
.absent { color: var(--muted); font-style: italic; }
.warning {
  background: var(--warn-ground); border-left: 4px solid var(--second); padding: 14px 18px; margin: 22px 0; max-width: 82ch;
}
.stats { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 1px; margin-top: 32px;
  background: var(--rule); border: 1px solid var(--rule); }
.stat { background: var(--paper); padding: 18px 20px 16px; }
.stat p { margin: 0; }
.stat-label { font-size: 13px; color: var(--muted); }
.stat-value { font-size: 30px; line-height: 1.3; font-weight: 600; letter-spacing: -0.02em; }
.stat-detail { font-size: 13px; color: var(--muted); line-height: 1.45; }
.side-by-side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 28px 36px; }
figure { margin: 0 0 8px; min-width: 0; }
figcaption { font-size: 14px; color: var(--muted); max-width: 72ch; margin-top: 6px; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
table { border-collapse: collapse; font-size: 14px; line-height: 1.4; min-width: 100%; }
caption { text-align: left; color: var(--muted); font-size: 14px; padding-bottom: 8px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; }
thead th { font-weight: 600; color: var(--muted); font-size: 13px; white-space: nowrap; }
tbody th { font-weight: 500; }
th.number, td.number { text-align: right; white-space: nowrap; }
dl { margin: 0; font-size: 14px; }
dl div { display: grid; grid-template-columns: minmax(120px, 220px) 1fr; gap: 16px; padding: 6px 0;
  border-bottom: 1px solid var(--rule); }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.chart { display: block; color: var(--ink); font-size: 12px; }
.chart text { fill: currentColor; }
figure .chart { max-width: none; }
.side-by-side .chart { width: 100%; height: auto; }
.chart .tick, .chart .legend, .chart .axis-label, .chart .heat-name, .chart .place-name { fill: var(--muted); }
.chart .legend { fill: var(--ink); }
.grid { stroke: var(--rule); } .axis { stroke: var(--muted); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.mark { stroke: var(--paper); stroke-width: 1; }
.line.series-0 { stroke: var(--accent); } .mark.series-0 { fill: var(--accent); }
.line.series-1 { stroke: var(--second); stroke-dasharray: 7 3; } .mark.series-1 { fill: var(--second); }
.line.series-2 { stroke: var(--third); stroke-dasharray: 2 3; } .mark.series-2 { fill: var(--third); }
.line.guide { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 3 4; }
.heat-ground { fill: var(--ground); } .heat { fill: var(--accent); } .heat-negative { fill: var(--second); }
.heat-number { font-size: 11px; } .chart .heat-number.strong { fill: var(--on-accent); }
.outline { fill: none; stroke: var(--ink); stroke-width: 1; stroke-opacity: 0.55; }
.meter { vertical-align: baseline; margin-left: 10px; }
.meter-ground { fill: var(--rule); } .meter-fill { fill: var(--accent); }
.place-name { font-size: 11px; } .chart .place-number { font-size: 9px; font-weight: 600; fill: var(--paper); }
.group-0 { fill: var(--group-0); } .group-1 { fill: var(--group-1); } .group-2 { fill: var(--group-2); }
.group-3 { fill: var(--group-3); } .group-4 { fill: var(--group-4); } .group-5 { fill: var(--group-5); }
.group-6 { fill: var(--group-6); } .group-7 { fill: var(--group-7); }
@media (max-width: 640px) {
  main { padding: 28px 18px 56px; } h1 { font-size: 26px; } .lead { font-size: 16px; } section { margin-top: 40px; }
  .stats { grid-template-columns: 1fr 1fr; } .stat { padding: 12px 14px; } .stat-value { font-size: 24px; }
  dl div { grid-template-columns: 1fr; gap: 0; }
}
@media print {
  @page { margin: 14mm; }
  :root { --paper: #ffffff; --ink: #000000; --muted: #444444; --rule: #cccccc; --ground: #f5f6f7; --accent: #20588a;
    --second: #c2571a; --third: #3b7a57; --on-accent: #ffffff; --warn-ground: #ffffff; }
  main { max-width: none; padding: 0; } body { font-size: 10.5pt; }
  .scroll { overflow: visible; } .chart { max-width: 100% !important; height: auto; }
  figure, tr, .stat, .warning, .side-by-side { break-inside: avoid; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
""")
