"""`manage.py create_staff`: a login for the back office."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.models import StaffUser
from accounts.services import staff


class Command(BaseCommand):
    help = "Make a member of staff, or change role and address of one that exists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", required=True)
        parser.add_argument("--email", required=True)
        parser.add_argument("--role", required=True, choices=StaffUser.Role.values)
        parser.add_argument(
            "--password", help="without it a new member gets a generated one, which is printed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user, generated, is_new = staff.create_or_update(
            username=options["username"],
            email=options["email"],
            role=options["role"],
            password=options["password"],
        )
        self.stdout.write(f"{'Made' if is_new else 'Updated'} {user.username} ({user.role})")
        if generated:
            self.stdout.write(f"Password: {generated}")
