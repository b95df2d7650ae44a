"""How PostgreSQL means to answer a query."""

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection


def scans(query: str, values: Any, *, analyzed: str) -> list[tuple[str, str, str]]:
    """(kind, table, index) of each scan in the plan; the statistics of the `analyzed` tables
    (their names, with commas) are made before."""
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {analyzed}")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {query}", values)
        plan = json.loads(json.dumps(cursor.fetchone()[0]))[0]["Plan"]
    return [
        (node["Node Type"], node.get("Relation Name", ""), node.get("Index Name", ""))
        for node in _nodes(plan)
        if "Scan" in node["Node Type"]
    ]


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
