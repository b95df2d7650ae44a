"""`/problems/{code}`: what the `type` of a problem document points to."""

import inspect

from django.http import HttpRequest, HttpResponse

from config.api.problems import NotFound, all_problems, respond


def problem_page(request: HttpRequest, code: str) -> HttpResponse:
    """A few lines of plain text about one code, from the class that raises it."""
    for kind in all_problems():
        if kind.code == code:
            text = f"{kind.code} ({kind.status})\n{kind.title}\n\n{inspect.getdoc(kind) or ''}\n"
            return HttpResponse(text, content_type="text/plain; charset=utf-8")
    return respond(NotFound("There is no such code"), request)


def problems_table() -> str:
    """docs/errors.md's table, in Markdown."""
    rows = ["| code | status | meaning |", "| --- | --- | --- |"]
    for kind in all_problems():
        meaning = " ".join((inspect.getdoc(kind) or kind.title).split())
        rows.append(f"| `{kind.code}` | {kind.status} | {meaning} |")
    return "\n".join(rows) + "\n"
