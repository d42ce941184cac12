"""Evaluates the dashboards of template.yaml over the log lines that functions wrote, as CloudWatch does: metrics in the embedded metric
format, SEARCH, metric mathematics, and the commands of Logs Insights that the widgets use. Anything else in a widget is an error."""

import json
import re
import sys
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

from template import load  # noqa: E402

STATISTICS = {
    "Sum": sum, "Maximum": max, "Minimum": min, "SampleCount": len, "Average": lambda values: sum(values) / len(values),
}


class Unknown(Exception):
    """A widget has something that is not evaluated here. The text says what."""


def dashboards(template=None, prefix="lockstep", region="us-east-1"):
    """The body of each dashboard, by its resource's name. Alarms stand there by their resources' names, and log groups by none."""
    resources = (template or load(ROOT / "template.yaml"))["Resources"]
    alarms = ", ".join(f'"{name}"' for name, it in resources.items() if it["Type"] == "AWS::CloudWatch::Alarm")
    values = {"NamePrefix": prefix, "AWS::Region": region, "Alarms": alarms, "Logs": ""}
    found = {}
    for name, resource in resources.items():
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            text, own = resource["Properties"]["DashboardBody"]["Fn::Sub"]
            # The page's widget of each function, as if all were deployed.
            pages = own["Pages"]["Fn::Join"][1] if "Pages" in own else []
            text = text.replace("${Pages}", "".join(it["Fn::If"][1]["Fn::Sub"] for it in pages))
            # What the functions of one stack are called is all else that a widget fills in.
            text = re.sub(r"\$\{([\w:.]+)\}", lambda key: values.get(key[1], key[1]), text)
            found[name] = json.loads(text)
    return found


class Log:
    """The lines of a log, and the metrics in them. Lines that are no JSON objects are somebody else's."""

    def __init__(self, lines):
        self.events, self.metrics = [], {}
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict):
                continue
            event["@message"], event["@timestamp"] = line.strip(), milliseconds(event)
            self.events.append(event)
            for directive in event.get("_aws", {}).get("CloudWatchMetrics", []):
                for names in directive["Dimensions"]:
                    dimensions = tuple((name, event[name]) for name in names)
                    for metric in directive["Metrics"]:
                        key = (directive["Namespace"], metric["Name"], dimensions)
                        self.metrics.setdefault(key, []).append((event["@timestamp"], event[metric["Name"]]))
        self.events.sort(key=lambda it: it["@timestamp"])

    def series(self, namespace, name, dimensions, statistic, period):
        """One value for each period in which the metric had one, by the period's beginning in seconds."""
        periods = {}
        for at, value in self.metrics.get((namespace, name, dimensions), []):
            periods.setdefault(at // 1000 // period * period, []).append(value)
        return {at: STATISTICS[statistic](values) for at, values in sorted(periods.items())}

    def search(self, expression):
        """What SEARCH finds, as label and series."""
        given = re.fullmatch(r"SEARCH\('\{([\w/]+),([\w,]+)\} (.*)', '(\w+)', (\d+)\)", expression)
        if not given:
            raise Unknown(expression)
        namespace, schema, terms, statistic, period = given.groups()
        wanted = {}
        for term, values in re.findall(r"(\w+)=\(([^)]*)\)", terms):
            wanted[term] = re.findall(r'"([^"]*)"', values)
        found = []
        for key in self.metrics:
            of = {"MetricName": key[1], **dict(key[2])}
            if key[0] == namespace and set(dict(key[2])) == set(schema.split(",")) and all(of.get(it) in wanted[it] for it in wanted):
                label = " ".join(value for name, value in [("MetricName", key[1]), *key[2]] if len(wanted.get(name, "..")) > 1)
                found.append((label, self.series(*key, statistic, int(period))))
        return sorted(found)

    def graph(self, properties):
        """The lines of a widget of metrics, as label and series."""
        statistic, period = properties["stat"], properties["period"]
        by_id, shown = {}, []
        for row in properties["metrics"]:
            options = row[-1] if isinstance(row[-1], dict) else {}
            if "expression" in options:
                shown.append(options)
                continue
            namespace, name, *pairs = row[:-1] if options else row
            line = self.series(namespace, name, tuple(zip(pairs[::2], pairs[1::2], strict=True)), statistic, period)
            by_id[options.get("id")] = line
            if options.get("visible", True):
                shown.append((options.get("label", name), line))
        lines = []
        for one in shown:
            if isinstance(one, tuple):
                lines.append(one)
            elif one["expression"].startswith("SEARCH("):
                lines += self.search(one["expression"])
            else:
                lines.append((one["label"], mathematics(one["expression"], by_id)))
        return lines

    def table(self, query):
        """The columns and rows of a query of Logs Insights."""
        rows, columns = list(self.events), ["@timestamp", "@message"]
        for command in re.split(r"\s*\|\s*(?=[a-z])", query.strip()):
            name, _, rest = command.partition(" ")
            if name == "fields":
                columns = [it.strip() for it in rest.split(",")]
            elif name == "filter":
                keep = Expression(rest)
                rows = [row for row in rows if keep.value([row])]
            elif name == "stats":
                columns, rows = grouped(rest, rows)
            elif name == "sort":
                column, _, order = rest.partition(" ")
                known = [row for row in rows if row.get(column) is not None]
                rows = sorted(known, key=lambda row: row[column], reverse=order == "desc")  # noqa: B023
            elif name == "limit":
                rows = rows[: int(rest)]
            else:
                raise Unknown(command)
        return columns, [[row.get(column) for column in columns] for row in rows]


def milliseconds(event):
    """When an event was logged."""
    if "_aws" in event:
        return event["_aws"]["Timestamp"]
    text = event.get("timestamp", "1970-01-01T00:00:00Z")
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def mathematics(expression, by_id):
    """A formula over series. A period in which one of them has no value, or a divisor is 0, has none."""
    text = re.sub(r'SUM\(METRICS\("(\w+)"\)\)', lambda it: f"total({it[1]!r})", expression)
    names = set(re.findall(r"\b[a-z]\w*\b", text)) - {"total"}
    if re.sub(r"total\('\w+'\)|\b[a-z]\w*\b|[\d.]+|[-+*/() ]", "", text):
        raise Unknown(expression)
    series = {name: line for name, line in by_id.items() if name}
    found = {}
    for at in sorted({at for line in series.values() for at in line}):
        def total(part):
            values = [line[at] for name, line in series.items() if part in name and at in line]  # noqa: B023
            return sum(values) if values else None
        try:
            values = {name: series[name][at] for name in names if name in series}
            found[at] = eval(text, {"__builtins__": {}}, {**values, "total": total})  # noqa: S307: only names, numbers and operators
        except (KeyError, NameError, TypeError, ZeroDivisionError):
            continue
    return found


TOKEN = re.compile(r'\s*("[^"]*"|/[^/\s][^/]*/|@?[A-Za-z_][\w.]*|\d+(?:\.\d+)?[dhm]?|!=|>=|<=|[-=<>()*/+,\[\]])')


class Expression:
    """An expression of Logs Insights: comparisons, and, or, not, in, like, ispresent, arithmetic, and the aggregations of stats."""

    def __init__(self, text):
        self.text, self.tokens, at = text, [], 0
        text = text.strip()
        while at < len(text):
            token = TOKEN.match(text, at)
            if not token:
                raise Unknown(text[at:])
            self.tokens.append(token[1])
            at = token.end()
        self.tree = self.disjunction()
        if self.tokens:
            raise Unknown(self.text)

    def take(self, *wanted):
        if self.tokens and self.tokens[0] in wanted:
            return self.tokens.pop(0)
        return None

    def disjunction(self):
        tree = self.conjunction()
        while self.take("or"):
            tree = ("or", tree, self.conjunction())
        return tree

    def conjunction(self):
        tree = self.comparison()
        while self.take("and"):
            tree = ("and", tree, self.comparison())
        return tree

    def comparison(self):
        if self.take("not"):
            return ("not", self.comparison())
        tree = self.sum()
        if self.take("not"):
            if not self.take("in"):
                raise Unknown(self.text)
            return ("not", ("in", tree, self.list()))
        if self.take("in"):
            return ("in", tree, self.list())
        operator = self.take("=", "!=", "<", ">", "<=", ">=", "like")
        return (operator, tree, self.sum()) if operator else tree

    def list(self):
        if not self.take("["):
            raise Unknown(self.text)
        values = []
        while not self.take("]"):
            values.append(self.atom()[1])
            self.take(",")
        return values

    def sum(self):
        tree = self.product()
        while operator := self.take("+", "-"):
            tree = (operator, tree, self.product())
        return tree

    def product(self):
        tree = self.atom()
        while operator := self.take("*", "/"):
            tree = (operator, tree, self.atom())
        return tree

    def atom(self):
        if self.take("("):
            tree = self.disjunction()
            if not self.take(")"):
                raise Unknown(self.text)
            return tree
        if not self.tokens:
            raise Unknown(self.text)
        token = self.tokens.pop(0)
        if token[0] in '"/':
            return ("value", token[1:-1])
        if token[0].isdigit():
            return ("value", float(token)) if token[-1].isdigit() else ("value", token)
        if self.take("("):
            argument = None if self.take("*") else self.sum()
            if not self.take(")"):
                raise Unknown(self.text)
            return ("call", token, argument)
        return ("field", token)

    def fields(self):
        """The names of the fields that the expression reads."""
        return set(read(self.tree))

    def value(self, rows, tree=None):
        """The value over one row, or an aggregation over several."""
        tree = self.tree if tree is None else tree
        kind = tree[0]
        if kind == "value":
            return tree[1]
        if kind == "field":
            return rows[0].get(tree[1])
        if kind == "call":
            return self.called(tree[1], tree[2], rows)
        if kind == "not":
            return not self.value(rows, tree[1])
        left = self.value(rows, tree[1])
        if kind == "in":
            return left in tree[2]
        if kind in ("and", "or"):
            return bool(left) and bool(self.value(rows, tree[2])) if kind == "and" else bool(left) or bool(self.value(rows, tree[2]))
        right = self.value(rows, tree[2])
        if kind == "like":
            return left is not None and re.search(right, str(left)) is not None
        if kind in ("=", "!="):
            return (left == right) == (kind == "=")
        if left is None or right is None:
            return None
        operations = {
            "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right, "/": lambda: left / right,
            "<": lambda: left < right, ">": lambda: left > right, "<=": lambda: left <= right, ">=": lambda: left >= right,
        }
        return operations[kind]()

    def called(self, name, argument, rows):
        if name == "ispresent":
            return self.value(rows, argument) is not None
        if name == "bin":
            return int(rows[0]["@timestamp"] // 86_400_000 * 86_400_000)
        present = [(row["@timestamp"], self.value([row], argument)) for row in rows] if argument else [(0, 1) for _ in rows]
        values = [value for _, value in present if value is not None]
        if name == "count":
            return len(values)
        if name == "count_distinct":
            return len(set(values))
        if name == "sum":
            return sum(values)
        if not values:
            return None
        if name == "latest":
            return [value for _, value in sorted(present, key=lambda it: it[0]) if value is not None][-1]
        if name in ("min", "max"):
            return min(values) if name == "min" else max(values)
        raise Unknown(name)


def read(tree):
    """The fields that a part of an expression reads."""
    if isinstance(tree, tuple) and tree[0] == "field":
        yield tree[1]
    elif isinstance(tree, tuple) and tree[0] != "value":
        for part in tree[1:]:
            yield from read(part)


def split(text):
    """The parts of a list, whose commas are outside parentheses and brackets."""
    return [it.strip() for it in re.split(r",\s*(?![^([]*[)\]])", text)]


def grouped(text, rows):
    """What stats makes of rows."""
    made, _, by = text.partition(" by ")
    keys = [(it, Expression(it)) for it in split(by)] if by else []
    columns = [(it.split(" as ")[-1].strip(), Expression(it.split(" as ")[0])) for it in split(made)]
    groups = {}
    for row in rows:
        groups.setdefault(tuple(key.value([row]) for _, key in keys), []).append(row)
    names = [name for name, _ in keys] + [name for name, _ in columns]
    found = []
    for key, members in groups.items():
        # A row without one of the keys is in no group.
        if None not in key or not keys:
            found.append(dict(zip(names, [*key, *(column.value(members) for _, column in columns)], strict=True)))
    return names, found
