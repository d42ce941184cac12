#!/usr/bin/env python3
"""Draws the dashboards of template.yaml as pictures: draw_dashboards.py [--log FILE] [--directory docs/images]

Without --log, a lab (`cargo lab serve`) rotates three secrets for a month, with trouble in between, and keeps the log lines that the functions
write (dashboards_run.py; it takes some minutes and writes target/dashboards.log). Each widget is evaluated over these lines as CloudWatch
would (dashboards.py). What Lambda itself counts, the lab has not, and the picture says so."""

import argparse
import html
import sys
from datetime import UTC, datetime
from pathlib import Path

from dashboards import ROOT, Log, dashboards
from dashboards_run import rotate_for_a_month

COLUMN, ROW, MARGIN = 50, 36, 5
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#003f5c", "#a05195"]
NAMES = {"Dashboard": "on-call", "OwnerDashboard": "owner", "DebugDashboard": "debug"}
STYLE = """text{font:11px system-ui,sans-serif;fill:#16191f}.t{font-weight:600;font-size:12px}.s{fill:#545b64;font-size:10px}
.w{fill:#fff;stroke:#d5dbdb}.g{stroke:#eaeded}.a{stroke:#d62728;stroke-dasharray:4 3}"""
DAY = 86_400


def element(x, y, text, kind="", anchor="start"):
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{style} text-anchor="{anchor}">{html.escape(text)}</text>'


def short(value):
    """A number as an axis shows it."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def cell(name, value):
    """A value of a table, cut to what tells it from others."""
    if value is None:
        return ""
    if name in ("@timestamp", "since", "began", "last", "bin(1d)") and isinstance(value, int | float):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%d %H:%M:%S" if name != "bin(1d)" else "%d %b")
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    if text.startswith("arn:"):
        return text.rsplit(":", 1)[-1].rsplit("-", 1)[0]
    return text[:8] if name in ("version", "replaced") else text[:26]


class Picture:
    """A dashboard over a log."""

    def __init__(self, log):
        self.log = log
        self.begin = log.events[0]["@timestamp"] // 1000 // DAY * DAY
        self.end = log.events[-1]["@timestamp"] // 1000 // DAY * DAY + DAY

    def drawn(self, body):
        # What a function answers for its page has pictures of its own: docs/page.md.
        widgets = [it for it in body["widgets"] if it["type"] != "custom"]
        height = max(it["y"] + it["height"] for it in widgets) * ROW
        parts = "\n".join(self.widget(it) for it in widgets)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" width="{24 * COLUMN}" height="{height}">'
            f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#f2f3f3"/>\n{parts}\n</svg>\n'
        )

    def widget(self, widget):
        width, height = widget["width"] * COLUMN - 2 * MARGIN, widget["height"] * ROW - 2 * MARGIN
        properties = widget["properties"]
        inside = {"text": self.text, "alarm": self.alarms, "metric": self.graph, "log": self.table}[widget["type"]](properties, width, height)
        title = element(10, 18, properties["title"][: width // 7], "t") if "title" in properties else ""
        at = f'transform="translate({widget["x"] * COLUMN + MARGIN},{widget["y"] * ROW + MARGIN})"'
        return f'<g {at}><rect class="w" width="{width}" height="{height}" rx="4"/>{title}{"".join(inside)}</g>'

    def text(self, properties, _width, _height):
        heading, _, rest = properties["markdown"].partition("\n")
        return [element(10, 24, heading.lstrip("# "), "t"), element(10, 44, rest)]

    def alarms(self, properties, width, _height):
        names, line = [], ""
        for name in properties["alarms"]:
            if len(line) + len(name) > width // 7:
                names, line = [*names, line], ""
            line += f"☐ {name}   "
        parts = [element(10, 40 + 18 * number, text) for number, text in enumerate([*names, line])]
        return [*parts, element(width - 10, 18, "CloudWatch colours each by its state", "s", "end")]

    def graph(self, properties, width, height):
        lines = [(label, line) for label, line in self.log.graph(properties) if line]
        if not lines:
            lambda_alone = all(row[0] == "AWS/Lambda" for row in properties["metrics"])
            reason = "Lambda itself counts this; the lab does not" if lambda_alone else "nothing of the kind happened"
            return [element(width / 2, height / 2, reason, "s", "middle")]
        if properties["view"] == "singleValue":
            last = [f"{list(line.values())[-1]:.0f} {label}" for label, line in lines]
            return [element(20, 70 + 28 * number, text, "t") for number, text in enumerate(last)]
        lines = lines[: len(COLOURS)]
        left, right, top, bottom = 46, width - 12, 30, height - (46 if len(lines) > 4 else 34)
        marks = properties.get("annotations", {}).get("horizontal", [])
        most = max([value for _, line in lines for value in line.values()] + [it["value"] for it in marks]) or 1

        def place(at, value):
            return left + (at - self.begin) / (self.end - self.begin) * (right - left), bottom - value / most * (bottom - top)

        parts, parts_of_legend = [], []
        for share in (0, 0.5, 1):
            _, y = place(self.begin, share * most)
            parts += [f'<path class="g" d="M{left} {y:.0f}H{right}"/>', element(left - 6, y + 4, short(share * most), "s", "end")]
        for at in range(self.begin, self.end, 7 * DAY):
            x, _ = place(at, 0)
            parts.append(element(x, bottom + 14, datetime.fromtimestamp(at, UTC).strftime("%d %b"), "s"))
        for it in marks:
            _, y = place(self.begin, it["value"])
            parts.append(f'<path class="a" d="M{left} {y:.0f}H{right}"/>')
        below = 2 if len(lines) > 4 else 1
        columns = -(-len(lines) // below)
        for colour, (label, line) in zip(COLOURS, lines, strict=False):
            points = [place(at, value) for at, value in line.items()]
            # Where a period has no value, CloudWatch draws no line either.
            step = properties["period"] * 1.01
            times = list(line)
            joined = ["L" if index and at - times[index - 1] <= step else "M" for index, at in enumerate(times)]
            path = "".join(f"{how}{x:.1f} {y:.1f}" for how, (x, y) in zip(joined, points, strict=True))
            dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in points)
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}"/>{dots}')
            index = len(parts_of_legend) // 2
            x, y = left + index % columns * (right - left) / columns, bottom + 27 + index // columns * 13
            name = label.replace("lockstep-", "")[: max(int((right - left) / columns / 5.6) - 2, 6)]
            parts_of_legend += [f'<rect x="{x:.0f}" y="{y - 8}" width="8" height="8" fill="{colour}"/>', element(x + 11, y, name, "s")]
        return parts + parts_of_legend

    def table(self, properties, width, height):
        columns, rows = self.log.table(properties["query"])
        shown = rows[: (height - 44) // 15]
        texts = [[cell(name, value) for name, value in zip(columns, row, strict=True)] for row in shown]
        lengths = [max([len(name)] + [len(row[number]) for row in texts]) for number, name in enumerate(columns)]
        scale, x, parts = (width - 20) / (sum(lengths) + 2 * len(lengths)), 10, []
        for number, name in enumerate(columns):
            parts.append(element(x, 36, name, "s"))
            parts += [element(x, 52 + 15 * index, row[number]) for index, row in enumerate(texts)]
            x += min(scale, 12) * (lengths[number] + 2)
        if not rows:
            parts.append(element(width / 2, height / 2, "no such line", "s", "middle"))
        elif len(rows) > len(shown):
            parts.append(element(width - 10, 18, f"{len(shown)} of {len(rows)} rows", "s", "end"))
        return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, help="lines that functions wrote, instead of a run of the lab")
    parser.add_argument("--directory", type=Path, default=ROOT / "docs/images")
    given = parser.parse_args()
    log = given.log or rotate_for_a_month(ROOT / "target/dashboards.log")
    picture = Picture(Log(log.read_text(encoding="utf-8").splitlines()))
    for name, body in dashboards().items():
        path = given.directory / f"dashboard-{NAMES[name]}.svg"
        path.write_text(picture.drawn(body), encoding="utf-8")
        sys.stderr.write(f"{path}\n")


if __name__ == "__main__":
    main()
