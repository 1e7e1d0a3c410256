"""The style and the script of a report: all within the page, nothing from outside."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1c1c1e; --soft: #6b6b70;
  --line: #d9d9de; --mark: #fff3c4; }
@media (prefers-color-scheme: dark) {
  :root { --back: #161618; --text: #ececf0; --soft: #a0a0a8; --line: #3a3a40; --mark: #4a4210; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1rem 1.5rem 4rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline; }
header p { margin: 0; color: var(--soft); }
input { font: inherit; color: inherit; background: transparent; padding: .3rem .6rem;
  border: 1px solid var(--line); border-radius: .4rem; min-width: 16rem; }
.image { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.25rem;
  align-items: start; }
figure { margin: 0; position: sticky; top: .5rem; }
svg { display: block; width: 100%; max-height: 92vh; }
figcaption { color: var(--soft); font-size: .85rem; }
.blank { fill: var(--line); }
.region :is(path, rect, circle) { fill: var(--c); fill-opacity: .12; stroke: var(--c);
  stroke-width: 2px; vector-effect: non-scaling-stroke; }
.region .line { fill: none; }
.region text { fill: #fff; stroke: #000; stroke-width: .22em; paint-order: stroke;
  stroke-linejoin: round; text-anchor: middle; dominant-baseline: central; font-weight: 700; }
.region:hover :is(path, rect, circle), .region.on :is(path, rect, circle) { fill-opacity: .45; }
.few .region { filter: drop-shadow(0 0 1.5px rgb(0 0 0 / .8)); }
.region.off { display: none; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td.said { white-space: pre-wrap; overflow-wrap: anywhere; }
td.who, td.kind { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
td.said { min-width: 12rem; width: 60%; }
td.kind { white-space: nowrap; }
td.score { font-variant-numeric: tabular-nums; }
td a { color: inherit; font-weight: 700; }
tr.on, tr:target { background: var(--mark); }
@media (max-width: 60rem) { .image { grid-template-columns: 1fr; } figure { position: static; } }
@media print { input { display: none; } figure { position: static; } }
"""

SCRIPT = """
"use strict";
const box = document.getElementById("search");
const rows = [...document.querySelectorAll("tr[id^=c]")];
const shape = row => document.getElementById("r" + row.id.slice(1));
const words = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
box.hidden = false;
box.addEventListener("input", () => {
  const wanted = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows) {
    const on = wanted.every(word => words.get(row).includes(word));
    row.hidden = !on;
    shape(row).classList.toggle("off", !on);
    left += on;
  }
  document.getElementById("count").textContent = wanted.length ? left + " found" : "";
});
for (const row of rows) {
  const group = shape(row);
  const light = on => { row.classList.toggle("on", on); group.classList.toggle("on", on); };
  for (const one of [row, group]) {
    one.addEventListener("mouseenter", () => light(true));
    one.addEventListener("mouseleave", () => light(false));
  }
  group.addEventListener("click", () => row.scrollIntoView({ block: "center" }));
}
"""


def policy() -> str:
    """Return what the page may load: its own pictures and style, and this one script."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
