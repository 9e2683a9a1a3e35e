"""Digests a CSV: for every numeric column its count, range, mean and median, and
for every other column its most frequent values.

Event:  {"csv": "<text>", "group_by": "<column, optional>"}
Result: {"rows": n, "columns": {...}, "groups": {...}}
"""

import csv
import io
import logging
import statistics
from collections import Counter, defaultdict

log = logging.getLogger()
log.setLevel(logging.INFO)

# Module state lives as long as the instance: it counts on from call to call.
calls = 0


def handler(event, context):
    global calls
    calls += 1
    rows = list(csv.DictReader(io.StringIO(event["csv"])))
    if not rows:
        raise ValueError("csv: there is a header at most, and no rows")
    log.info("%d rows, call %d of this instance", len(rows), calls)
    result = {"rows": len(rows), "call": calls, "columns": digest(rows)}
    if event.get("group_by"):
        result["groups"] = grouped(rows, event["group_by"])
    return result


def digest(rows):
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        numbers = as_numbers(values)
        columns[name] = of_numbers(numbers) if numbers else of_text(values)
    return columns


def as_numbers(values):
    try:
        return [float(v) for v in values]
    except ValueError:
        return None


def of_numbers(numbers):
    return {
        "min": min(numbers),
        "max": max(numbers),
        "mean": round(statistics.fmean(numbers), 3),
        "median": statistics.median(numbers),
    }


def of_text(values):
    counts = Counter(values)
    return {"distinct": len(counts), "top": counts.most_common(3)}


def grouped(rows, column):
    groups = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return {name: len(members) for name, members in sorted(groups.items())}
