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
import traceback
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

    with log_file(LOGS / "prepare.log").open("a", encoding="utf-8") as log, redirect_stdout(log):
        steps: list[tuple[str, Callable[[TextIO], None]]] = [
            ("Migrating the database", migrate),
            ("Applying the example game", apply_example),
            ("Making a staff login", create_staff),
        ]
        title = "Loading the settings"
        try:
            django.setup()
            for title, step in steps:
                print(f"  {title} …", file=sys.__stdout__, flush=True)
                step(log)
        except Exception as error:
            # Whatever it was, a person reads it: one line here, all of it in the log.
            traceback.print_exc(file=log)
            print(f"{title}: {error}", file=sys.__stderr__, flush=True)
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
    same_database = Game.objects.filter(pk=known["game_id"]).exists() if known else False
    if same_database and known["definition"] == digest:
        return
    output = io.StringIO()
    call_command("apply_game", str(EXAMPLE), stdout=output)
    log.write(output.getvalue())
    applied = json.loads(output.getvalue())
    # The server key is only said when it is made, so it is kept from then on.
    server_key = applied.get("server_key") or (known["server_key"] if same_database else None)
    write_json(
        KEYS,
        {
            "game": applied["game"],
            "game_id": str(Game.objects.get(slug=applied["game"]).pk),
            "publishable_key": applied["publishable_key"],
            "server_key": server_key,
            "definition": digest,
        },
    )


def create_staff(log: TextIO) -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    password = read_json(STAFF).get("password")
    user = get_user_model()._default_manager.filter(username=STAFF_NAME).first()
    if user is not None:
        if password and not user.check_password(password):
            write_json(STAFF, {"username": STAFF_NAME, "password": None})
        return
    password = password or secrets.token_urlsafe(12)
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
