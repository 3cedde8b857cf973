"""The style sheet of report.html: one column, calm colours, light and dark."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #faf9f6; --card: #ffffff; --ink: #1e2227; --muted: #666b73;
  --rule: #e4e2dc; --accent: #2b5c8a;
  --held: #1f7a4c; --held-fill: #e3f2e9; --missed: #b0391f; --missed-fill: #fbe7e2;
  --series-0: #2f6db3; --series-1: #d07a1e; --series-2: #2f9068; --series-3: #9a4f96;
  --series-4: #b23b4a; --series-5: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1b1e23; --ink: #e5e4e0; --muted: #9ba1a9;
    --rule: #2d3138; --accent: #84b3e0;
    --held: #7fd3a4; --held-fill: #173325; --missed: #f09a84; --missed-fill: #3b1f18;
    --series-0: #78abe6; --series-1: #eaa65a; --series-2: #6cc79d; --series-3: #cd8fca;
    --series-4: #ea8490; --series-5: #a3a9b3;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  -webkit-text-size-adjust: 100%;
}
main { max-width: 66rem; margin: 0 auto; padding: 4rem 1.5rem 6rem; }
h1, h2 {
  font-family: Charter, "Iowan Old Style", Palatino, Georgia, "Noto Serif", serif;
  font-weight: 600; line-height: 1.2; letter-spacing: -0.01em;
}
h1 { font-size: clamp(1.9rem, 1.3rem + 2.4vw, 2.9rem); margin: 0.4rem 0 0.8rem; }
h2 { font-size: 1.5rem; margin: 4rem 0 0.4rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 2rem 0 0.2rem; }
p { margin: 0.4rem 0 1rem; max-width: 44rem; }
a { color: inherit; }
code, pre { font: 0.86em/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.eyebrow {
  color: var(--accent); font-size: 0.8rem; font-weight: 600; letter-spacing: 0.08em;
  text-transform: uppercase; margin: 0;
}
.muted, figcaption, .note { color: var(--muted); }
.note { display: block; font-size: 0.86rem; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr));
  gap: 1.2rem 2rem; margin: 2rem 0 0; padding: 1.4rem 0 0;
  border-top: 1px solid var(--rule);
}
.facts div { min-width: 0; }
.facts dt { color: var(--muted); font-size: 0.8rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.scroll {
  overflow-x: auto; margin: 1rem 0; background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px;
}
table {
  border-collapse: collapse; width: 100%; font-size: 0.94rem;
  font-variant-numeric: tabular-nums;
}
th, td { padding: 0.7rem 1rem; text-align: left; vertical-align: top; }
th { color: var(--muted); font-size: 0.8rem; font-weight: 600; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--rule); }
.number { text-align: right; white-space: nowrap; }
.words { min-width: 15rem; }
.text { min-width: 7rem; }
.verdict {
  display: inline-block; padding: 0.1rem 0.65rem; border-radius: 999px;
  font-size: 0.82rem; font-weight: 600; white-space: nowrap;
}
.held { color: var(--held); background: var(--held-fill); }
.missed { color: var(--missed); background: var(--missed-fill); }
.charts, .pictures { display: grid; gap: 1.2rem; margin: 1rem 0; }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 18.5rem), 1fr)); }
.pictures {
  grid-auto-flow: dense;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr));
}
figure {
  margin: 0; padding: 1rem; min-width: 0; background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px;
}
figcaption { font-size: 0.88rem; }
figcaption strong { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }
.charts figcaption { display: flex; flex-wrap: wrap; gap: 0 0.9rem; }
.charts figcaption strong { flex-basis: 100%; }
.key { white-space: nowrap; font-variant-numeric: tabular-nums; }
.key::before {
  content: ""; display: inline-block; width: 0.9rem; height: 0.16rem;
  margin-right: 0.4rem; vertical-align: 0.25rem; background: var(--series);
  border-radius: 1px;
}
svg { display: block; width: 100%; height: auto; margin-top: 0.6rem; }
.tick, .label {
  fill: var(--muted); font-size: 10.5px; font-variant-numeric: tabular-nums;
}
.grid { stroke: var(--rule); }
.axis { stroke: var(--muted); stroke-opacity: 0.6; }
.line {
  fill: none; stroke: var(--series); stroke-width: 1.7; stroke-linejoin: round;
}
.band { fill: var(--series); opacity: 0.16; }
.dot { fill: var(--series); }
.series-0 { --series: var(--series-0); } .series-1 { --series: var(--series-1); }
.series-2 { --series: var(--series-2); } .series-3 { --series: var(--series-3); }
.series-4 { --series: var(--series-4); } .series-5 { --series: var(--series-5); }
.pictures figure { scroll-margin-top: 1rem; }
.pictures .open { display: block; overflow-x: auto; }
.pictures img {
  display: block; max-width: 100%; height: auto; max-height: 24rem; margin: 0 auto;
  object-fit: contain;
}
.pictures img.small { image-rendering: pixelated; }
.pictures img.paper { background: #ffffff; border-radius: 4px; }
.pictures figcaption { margin-top: 0.8rem; }
.pictures .wide, .pictures figure:target { grid-column: 1 / -1; }
.pictures figure:target img { max-width: none; max-height: none; }
.close { display: none; }
.pictures figure:target .close { display: inline; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre {
  margin: 1rem 0; padding: 1rem; overflow-x: auto; background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px;
}
@media (max-width: 40rem) {
  main { padding: 2.2rem 1rem 4rem; }
  h2 { margin-top: 3rem; }
  .facts { grid-template-columns: repeat(2, 1fr); }
  table { font-size: 0.86rem; }
  .words { min-width: 9rem; }
  .text { min-width: 6rem; }
  th, td { padding: 0.5rem; }
}
@media print { body { background: none; } figure, tr { break-inside: avoid; } }
""".strip()
