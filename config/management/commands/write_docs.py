import inspect
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import hooks
from config.api.problem_pages import problems_table
from config.settings.env import env

HEAD = "<!-- Written by `manage.py write_docs`; edit the code, not this file. -->\n\n"


def errors_page() -> str:
    return (
        f"{HEAD}# Errors\n\nEvery error is a problem document (RFC 9457). `code` is stable; "
        "`instance` is the request id, which finds the request in the server's log.\n\n"
        f"{problems_table()}"
    )


def settings_page() -> str:
    lines = [
        HEAD + "# Settings\n",
        (
            "All settings come from the environment; each also from the file that `NAME_FILE` "
            "names. Production refuses to start when a required one is missing, and names them.\n"
        ),
        "| name | kind | default | what it does |",
        "| --- | --- | --- | --- |",
    ]
    for variable in sorted(env.variables.values(), key=lambda v: v.name):
        default = f"`{variable.default}`" if variable.default else ""
        default = default.replace(str(settings.BASE_DIR), ".")
        secret = " (secret)" if variable.secret else ""
        lines.append(
            f"| `{variable.name}` | {variable.kind}{secret} | {default} | {variable.doc} |"
        )
    return "\n".join(lines) + "\n"


def hooks_page() -> str:
    lines = [
        HEAD + "# Hooks\n",
        inspect.getdoc(hooks) or "",
        "\n## Points\n",
        "| point | arguments and moment |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | {doc} |" for name, doc in sorted(hooks.POINTS.items())]
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    help = "Writes docs/errors.md, settings.md and hooks.md from the code (--check: compares)."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true", help="fail if a page is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        docs = Path(settings.BASE_DIR) / "docs"
        pages = {
            "errors.md": errors_page(),
            "settings.md": settings_page(),
            "hooks.md": hooks_page(),
        }
        for name, text in pages.items():
            path = docs / name
            if options["check"]:
                if not path.exists() or path.read_text(encoding="utf-8") != text:
                    raise CommandError(f"docs/{name} is out of date: run manage.py write_docs")
            else:
                docs.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
                self.stdout.write(f"docs/{name}")
