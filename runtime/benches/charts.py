#!/usr/bin/env python3
"""Draws what `make bench` measured as SVG: `make bench-charts` calls this.

    charts.py FOLDER [MESH.json] [GROWTH.json]

The first file is what `make bench` writes of calls between guests, the second what it writes of growth; one that is not there is
left out. It needs nothing but Python's own library.
"""

import json
import math
import sys
from html import escape
from pathlib import Path

WIDTH = 880
ROW = 22
COLOURS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#db2777", "#65a30d"]
DASHES = ["", "6 3", "2 3"]
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2937 }
  .title { font-size: 15px; font-weight: 600 }
  .quiet { fill: #6b7280 }
  .grid { stroke: #d1d5db; stroke-width: 1 }
  .guide { stroke: #9ca3af; stroke-dasharray: 1 4; fill: none }
  .limit { stroke: #1f2937; stroke-width: 1.5 }
  .bar { fill: #2563eb }
  .better { fill: #059669 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb } .quiet { fill: #9ca3af } .grid { stroke: #374151 } .limit { stroke: #e5e7eb }
  }
"""


class Svg:
    """Shapes, one a line, so that a change of the numbers is a readable diff."""

    def __init__(self):
        self.parts = []

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def text(self, x, y, text, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>')

    def rect(self, x, y, width, height, kind):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>')

    def path(self, points, colour, dash):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        look = f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"'
        self.parts.append(f'<polyline points="{places}" {look}/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]

    def write(self, path, height, title):
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
        body = "\n".join(self.parts)
        path.write_text(f"{head}\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n")
        print(path)


def decades(values):
    """The powers of ten that have all values between them."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def costs(row):
    """How many times a limit's cost a row has, each with what was measured; nothing where it has no limit."""
    if "mib_per_second_ratio" in row:
        return [(1 / row["mib_per_second_ratio"], f"{row['row']}, bytes a second")]
    if "p50_ratio" not in row or "bare" not in row:
        return []
    beside = " beside typed"
    many = f"{row['row'].removesuffix(beside)}, {row['in_flight']:,} in flight"
    rate = row["in_flight"] > 1
    bars = []
    # A sum beside typed guests is beside the bare echo in a row of its own.
    if row["op"] != "sum" or not row["row"].endswith(beside):
        bars.append((1 / row["calls_per_second_ratio"], f"{many}, calls a second") if rate else (row["p50_ratio"], f"{many}, p50"))
    if row["row"].endswith(beside):
        ratio = 1 / row["calls_per_second_ratio_to_typed"] if rate else row["p50_ratio_to_typed"]
        bars.append((ratio, f"{many}, {'calls a second' if rate else 'p50'}, to bindgen! and serde"))
    return bars


def draw_ratios(rows, path):
    bars = [bar for row in rows for bar in costs(row)]
    if not bars:
        return
    left, right, top = 400, 70, 64
    low, high = decades([ratio for ratio, _ in bars] + [1])
    place = lambda ratio: left + (WIDTH - left - right) * (math.log10(ratio) - low) / (high - low)
    bottom = top + ROW * len(bars)
    svg = Svg()
    title = "Guest to guest, in times of the bare limit of the same run"
    svg.text(16, 24, title, "title")
    svg.text(16, 44, "1 is the bare echo over the same kind of socket; less is better; each step of the grid is tenfold", "quiet")
    for power in range(low, high + 1):
        x = place(10.0**power)
        svg.line(x, top - 6, x, bottom, "grid")
        svg.text(x, bottom + 16, f"{10.0**power:g}x", "quiet", "middle")
    for at, (ratio, label) in enumerate(bars):
        y = top + ROW * at
        x1, x2 = sorted([place(1), place(ratio)])
        svg.rect(x1, y + 3, max(x2 - x1, 1), ROW - 8, "bar" if ratio > 1 else "better")
        svg.text(left - 8, y + 15, label, "", "end")
        svg.text(x2 + 5, y + 15, f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x")
    svg.line(place(1), top - 6, place(1), bottom, "limit")
    svg.write(path, bottom + 28, title)


def shown(value, unit):
    if unit == "bytes":
        return f"{value:,.0f} B"
    for size, name in [(1e6, "ms"), (1e3, "us")]:
        if value >= 10 * size:
            return f"{value / size:,.0f} {name}"
    return f"{value:,.0f} ns"


def draw_panel(svg, table, unit, top, height):
    """The rows of one unit, as lines over the steps. Where it ends."""
    rows = [row for row in table["rows"] if row["unit"] == unit]
    if not rows:
        return top
    left, right = 70, 20
    steps = table["steps"]
    low, high = decades([value for row in rows for value in row["values"]])
    across = math.log10(steps[-1] / steps[0])
    x_of = lambda step: left + (WIDTH - left - right) * math.log10(step / steps[0]) / across
    y_of = lambda value: top + height - height * (math.log10(value) - low) / (high - low)
    for power in range(low, high + 1):
        svg.line(left, y_of(10.0**power), WIDTH - right, y_of(10.0**power), "grid")
        svg.text(left - 8, y_of(10.0**power) + 4, shown(10.0**power, unit), "quiet", "end")
    for step in steps:
        svg.line(x_of(step), top, x_of(step), top + height, "grid")
        svg.text(x_of(step), top + height + 16, f"{step:,}", "quiet", "middle")
    # What is linear climbs as these do.
    for start in range(low - math.ceil(across), high):
        begin = max(0.0, low - start)
        end = min(across, high - start)
        if end > begin:
            points = [(x_of(steps[0] * 10**at), y_of(10.0 ** (start + at))) for at in (begin, end)]
            svg.line(*points[0], *points[1], "guide")
    y = top + height + 40
    for at, row in enumerate(rows):
        colour, dash = COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)]
        svg.path([(x_of(step), y_of(value)) for step, value in zip(steps, row["values"])], colour, dash)
        svg.path([(left, y - 4), (left + 26, y - 4)], colour, dash)
        last = f"{shown(row['values'][-1], unit)} at {steps[-1]:,}, {row['reading']}"
        svg.text(left + 36, y, f"{row['row'].strip()}: {last}")
        y += 18
    return y + 14


def draw_growth(table, path):
    svg = Svg()
    title = f"Cost as work grows: {table['table']}"
    svg.text(16, 24, title, "title")
    svg.text(16, 44, f"by {table['of']}; both axes are logarithmic: what is constant is level, what is linear climbs as the dots do", "quiet")
    y = draw_panel(svg, table, "ns", 64, 300)
    y = draw_panel(svg, table, "bytes", y + 8, 140)
    svg.write(path, y, title)


def main():
    folder, *files = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    there = [path for path in files if path.exists()]
    for path in files:
        if path not in there:
            print(f"{path} is not there: `make bench` writes it", file=sys.stderr)
    for path in there:
        results = json.loads(path.read_text())
        if results and "table" in results[0]:
            for table in results:
                draw_growth(table, folder / f"growth-{table['of'].replace(' ', '-')}.svg")
        else:
            draw_ratios(results, folder / "ratios.svg")
    sys.exit(0 if there else 1)


main()
