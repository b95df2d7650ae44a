"""Brings the database to where the backend can start: one process, each step said.

Run by `run` with the services' addresses in the environment. What is asked for only once (the
server key, the staff password) is kept in `.local/`, so that a later start can show it again.
"""

import hashlib
import io
import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TextIO

from config.quickstart.layout import LOCAL, LOGS, ROOT, log_file, read_json, write_json

KEYS = LOCAL / "keys.json"
STAFF = LOCAL / "staff.json"
EXAMPLE = ROOT / "examples" / "lantern_garden.yaml"
STAFF_NAME = "admin"


def main() -> int:
    import django
    from django.core.management.base import CommandError

    with log_file(LOGS / "prepare.log").open("a", encoding="utf-8") as log, redirect_stdout(log):
        django.setup()
        steps: list[tuple[str, Callable[[TextIO], None]]] = [
            ("Migrating the database", migrate),
            ("Applying the example game", apply_example),
            ("Making a staff login", create_staff),
        ]
        for title, step in steps:
            print(f"  {title} …", file=sys.__stdout__, flush=True)
            try:
                step(log)
            except CommandError as error:
                print(f"{title} failed: {error}", file=sys.__stderr__, flush=True)
                return 1
    return 0


def migrate(log: TextIO) -> None:
    from django.core.management import call_command

    call_command("migrate", interactive=False, stdout=log)
    call_command("partitions", stdout=log)


def apply_example(log: TextIO) -> None:
    """Apply the example game where it is missing, or where its file has changed since.

    Not at every start: that would undo what was edited in the admin meanwhile.
    """
    from django.core.management import call_command

    from accounts.models import Game

    known = read_json(KEYS)
    digest = hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    if known.get("definition") == digest and Game.objects.filter(slug=known.get("game")).exists():
        return
    output = io.StringIO()
    call_command("apply_game", str(EXAMPLE), stdout=output)
    log.write(output.getvalue())
    applied = json.loads(output.getvalue())
    keys = {
        "game": applied["game"],
        "publishable_key": applied["publishable_key"],
        # Only said when it is made; kept from then on.
        "server_key": applied.get("server_key") or known.get("server_key"),
        "definition": digest,
    }
    write_json(KEYS, keys)


def create_staff(log: TextIO) -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    known = read_json(STAFF)
    if get_user_model()._default_manager.filter(username=STAFF_NAME).exists():
        return
    password = str(known.get("password") or secrets.token_urlsafe(12))
    write_json(STAFF, {"username": STAFF_NAME, "password": password})
    call_command(
        "create_staff",
        username=STAFF_NAME,
        email="admin@example.com",
        role="admin",
        password=password,
        stdout=log,
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    sys.exit(main())
