from typing import Any

from django.core.management.base import BaseCommand

from config.db.partitions import maintain, partitions_of, registered


class Command(BaseCommand):
    help = "Makes partitions ahead and drops those past retention; --list shows what there is."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--list", action="store_true", help="only show the partitions")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            for table in registered():
                days = sorted(partitions_of(table))
                span = f"{days[0]} to {days[-1]}" if days else "none"
                self.stdout.write(f"{table.table}: {len(days)} by {table.interval}, {span}")
            return
        changes = maintain(
            report=lambda c: self.stdout.write(f"{c.what} {c.partition} {c.rows or ''}".rstrip())
        )
        self.stdout.write(f"{len(changes)} changes")
