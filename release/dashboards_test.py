"""The dashboards name what functions write, and are evaluated as CloudWatch does it."""

import json
import re
import unittest

from dashboards import ROOT, Expression, Log, Unknown, dashboards, mathematics, split

# Metrics that Lambda itself writes (Lambda developer guide, "Types of metrics for Lambda functions").
OF_LAMBDA = {"Errors", "Throttles", "Invocations", "Duration", "ConcurrentExecutions"}
# What Step Functions writes ("Monitoring Step Functions metrics using Amazon CloudWatch", AWS Step Functions developer guide), and the template's own
# filter of the log (release/template/fleet/leaks.yaml).
OF_OTHERS = {
    ("AWS/States", ("StateMachineArn",)): {
        "ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsAborted", "ExecutionsTimedOut", "ExecutionThrottled",
    },
    ("AWS/States", ("APIName",)): {"ThrottledEvents"},
    ("Lockstep/lockstep", ()): {"LeakNotices"},
}
# The sets of dimensions that a metric has: `By` in the same file.
SETS = {
    "Function": [("FunctionName",)],
    "Step": [("FunctionName",), ("FunctionName", "Step")],
    "Class": [("FunctionName",), ("FunctionName", "Step", "Class")],
}


def written():
    """The metrics that functions write, and the sets of dimensions of each."""
    source = (ROOT / "shared/src/lambda/metric.rs").read_text(encoding="utf-8")
    body = source.split("\nmetrics! {\n")[1].split("\n}\n")[0]
    return {name: SETS[by] for name, by in re.findall(r'(?m)^    (\w+): "\w+", (\w+);$', body)}


def fields():
    """The fields of log lines: those of docs/observability.md, the metrics, and what CloudWatch adds."""
    page = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
    log = page.split("\n## The log\n")[1].split("\n## Queries\n")[0]
    return set(re.findall(r"`(\w+)`", log)) | set(written()) | {"@timestamp", "@message"}


def named(widget):
    """The metrics that a widget names, each with its namespace and dimensions."""
    for row in widget["properties"]["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        if "expression" not in options:
            namespace, name, *pairs = row[:-1] if options else row
            yield namespace, name, tuple(pairs[::2])
        elif options["expression"].startswith("SEARCH("):
            namespace, schema = re.search(r"\{([\w/]+),([\w,]+)\}", options["expression"]).groups()
            for name in re.findall(r'"([^"]+)"', re.search(r"MetricName=\(([^)]*)\)", options["expression"])[1]):
                yield namespace, name, tuple(schema.split(","))


def read_by(query):
    """The fields that a query reads from the log."""
    made = set()
    for command in re.split(r"\s*\|\s*(?=[a-z])", query):
        name, _, rest = command.partition(" ")
        if name == "fields":
            yield from (set(split(rest)) - made)
        elif name == "filter":
            yield from Expression(rest).fields() - made
        elif name == "stats":
            columns, _, by = rest.partition(" by ")
            for column in split(columns):
                yield from Expression(column.split(" as ")[0]).fields() - made
            yield from (key for key in split(by) if key and "(" not in key and key not in made)
            made |= {column.split(" as ")[-1].strip() for column in split(columns)} | set(split(by))


class WhatWidgetsName(unittest.TestCase):
    def setUp(self):
        self.widgets = [(name, it) for name, body in dashboards().items() for it in body["widgets"]]

    def test_every_metric_is_written_with_these_dimensions(self):
        known, seen = written(), set()
        for dashboard, widget in self.widgets:
            if widget["type"] != "metric":
                continue
            for namespace, name, dimensions in named(widget):
                where = f"{dashboard}: {widget['properties']['title']}"
                if namespace == "AWS/Lambda":
                    self.assertIn(name, OF_LAMBDA, where)
                    self.assertEqual(dimensions, ("FunctionName",), where)
                elif namespace != "Lockstep":
                    self.assertIn(name, OF_OTHERS.get((namespace, dimensions), ()), where)
                else:
                    self.assertIn(name, known, where)
                    self.assertIn(dimensions, known[name], where)
                    seen.add(name)
        # A metric that is on no dashboard is one that nobody looks at.
        self.assertEqual(set(known) - seen, set())

    def test_every_query_reads_fields_that_the_log_has(self):
        known, queries = fields(), 0
        for dashboard, widget in self.widgets:
            if widget["type"] == "log":
                for field in read_by(widget["properties"]["query"]):
                    self.assertIn(field, known, f"{dashboard}: {widget['properties']['title']}")
                queries += 1
        self.assertGreater(queries, 6)

    def test_all_are_evaluated_without_a_line(self):
        for _, widget in self.widgets:
            if widget["type"] == "metric":
                Log([]).graph(widget["properties"])
            elif widget["type"] == "log":
                Log([]).table(widget["properties"]["query"])

    def test_the_practice_names_each_number_once_and_its_widget(self):
        page = (ROOT / "docs/practice.md").read_text(encoding="utf-8")
        rows = re.findall(r"(?m)^\| (M\d+) [^|]*\|[^|]*\|[^|]*\|$", page)
        self.assertEqual(rows, [f"M{number}" for number in range(1, 11)])
        titles = {it["properties"]["title"] for _, it in self.widgets if "title" in it.get("properties", {})}
        shown = re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", page.split("| M1 ")[1].split("\n\n")[0])
        self.assertGreater(len(shown), 8)
        for title in shown:
            self.assertIn(title, titles)


def line(at, **members):
    return json.dumps({"timestamp": f"2026-01-01T00:00:{at:02}Z", **members})


def metrics(at, names, **members):
    directive = {"Namespace": "Lockstep", "Dimensions": [["FunctionName"]], "Metrics": [{"Name": it} for it in names]}
    return json.dumps({"FunctionName": "f", **members, "_aws": {"Timestamp": at * 1000, "CloudWatchMetrics": [directive]}})


class Evaluation(unittest.TestCase):
    def test_a_series_has_one_value_for_a_period(self):
        log = Log([metrics(at, ["Throttles"], Throttles=value) for at, value in [(0, 1), (299, 2), (300, 5)]])
        key = ("Lockstep", "Throttles", (("FunctionName", "f"),))
        self.assertEqual(log.series(*key, "Sum", 300), {0: 3, 300: 5})
        self.assertEqual(log.series(*key, "Maximum", 300), {0: 2, 300: 5})
        self.assertEqual(log.series(*key, "Average", 600), {0: 8 / 3})
        found = log.search("SEARCH('{Lockstep,FunctionName} MetricName=(\"Throttles\" OR \"X\") FunctionName=(\"f\")', 'Sum', 300)")
        self.assertEqual(found, [("Throttles", {0: 3, 300: 5})])
        self.assertEqual(log.search("SEARCH('{Lockstep,FunctionName,Step} MetricName=(\"Throttles\")', 'Sum', 300)"), [])

    def test_mathematics_needs_all_values(self):
        rate = mathematics('100 * SUM(METRICS("good")) / SUM(METRICS("all"))', {"goodA": {0: 3}, "goodB": {0: 1}, "allA": {0: 5, 9: 2}})
        self.assertEqual(rate, {0: 80})
        self.assertEqual(mathematics("a / 86400", {"a": {7: 172800}}), {7: 2})
        with self.assertRaises(Unknown):
            mathematics("__import__('os')", {})

    def test_queries(self):
        log = Log([
            "START", line(1, secret="a", outcome="failed", code="x", audit="rotation"), line(3, secret="a", outcome="promoted", audit="rotation"),
            line(2, secret="b", outcome="failed", code="y", audit="rotation"), line(4, step="watch"),
        ])
        columns, rows = log.table(
            'filter audit = "rotation" | stats count(code) as failures, (max(@timestamp) - min(@timestamp)) / 1000 as seconds, '
            'latest(outcome) as last by secret | filter failures > 0 | sort seconds desc'
        )
        self.assertEqual(columns, ["secret", "failures", "seconds", "last"])
        self.assertEqual(rows, [["a", 1, 2.0, "promoted"], ["b", 1, 0.0, "failed"]])
        self.assertEqual(log.table('filter step not in ["watch"] and ispresent(step) | fields step')[1], [])
        self.assertEqual(log.table('filter secret like /^a$/ and (outcome = "failed" or code = "y") | fields code | limit 9')[1], [["x"]])
        with self.assertRaises(Unknown):
            log.table("parse x")


if __name__ == "__main__":
    unittest.main()
