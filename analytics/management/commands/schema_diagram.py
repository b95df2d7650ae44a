"""`manage.py schema_diagram`: write docs/schema.md from the models."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.schema_page import schema_page


class Command(BaseCommand):
    help = "Write docs/schema.md: diagrams (Mermaid) and the index strategy, from the models."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail if it is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        page = Path(settings.BASE_DIR) / "docs" / "schema.md"
        text = schema_page()
        if not options["check"]:
            page.write_text(text, encoding="utf-8")
            self.stdout.write("docs/schema.md")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            raise CommandError("docs/schema.md is out of date: run manage.py schema_diagram")
