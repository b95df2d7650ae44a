"""The embedded PostgreSQL and Valkey, for whoever needs them and has no others.

    python -m config.quickstart.services exec [--disposable DIRECTORY] -- COMMAND…
    python -m config.quickstart.services status | stop

`exec` runs a command with DATABASE_URL, REDIS_URL and CELERY_BROKER_URL set. Those that are set
already are left alone, and what they stand for is not started.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from config.quickstart.keeper import Lease, keeper_lives, make_server
from config.quickstart.layout import LOCAL, read_json
from config.quickstart.processes import QuickstartError, started_at, wait_until

KINDS = ("postgres", "valkey")


@dataclass
class Services:
    """The embedded services under `base`, used by this process from `start` until `stop`.

    Durable ones keep their data; disposable ones begin empty and trade durability for speed.
    """

    base: Path = LOCAL
    durable: bool = True
    leases: list[Lease] = field(default_factory=list)

    def start(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Start what `environ` names no address for; return the variables it lacks.

        Raises QuickstartError when a service does not come up.
        """
        wanted = []
        if not environ.get("DATABASE_URL"):
            wanted.append("postgres")
        if not environ.get("REDIS_URL") or not environ.get("CELERY_BROKER_URL"):
            wanted.append("valkey")
        self.leases = [
            Lease(make_server(kind, self.base, durable=self.durable), durable=self.durable)
            for kind in wanted
        ]
        try:
            with ThreadPoolExecutor(max_workers=len(KINDS)) as pool:
                started = {lease.server.name: pool.submit(lease.acquire) for lease in self.leases}
            urls = {name: future.result() for name, future in started.items()}
        except BaseException:
            self.stop()
            raise
        found = {}
        if "postgres" in urls:
            found["DATABASE_URL"] = urls["postgres"]
        if "valkey" in urls:
            base = urls["valkey"].rpartition("/")[0]
            found |= {"REDIS_URL": f"{base}/0", "CELERY_BROKER_URL": f"{base}/1"}
        return {name: url for name, url in found.items() if not environ.get(name)}

    def news(self) -> list[str]:
        """What the keepers that we started have had to do since the last call."""
        return [line for lease in self.leases for line in lease.news()]

    def stop(self) -> bool:
        """Give the services up; False when another command still uses one of them."""
        # All are given up before any is waited for. (No threads: this also runs at exit.)
        stopping = [lease for lease in self.leases if lease.give_up()]
        stopped = len(stopping) == len(self.leases)
        for lease in stopping:
            stopped = lease.wait_until_stopped() and stopped
        self.leases = []
        if stopped and not self.durable:
            shutil.rmtree(self.base, ignore_errors=True)
        return stopped


def execute(services: Services, command: list[str]) -> int:
    """Run `command` with the services; its exit status."""
    if not command:
        raise QuickstartError("exec needs a command after --")
    found = services.start(os.environ)
    try:
        child = subprocess.Popen(command, env=os.environ | found)

        def pass_on(number: int, _frame: FrameType | None) -> None:
            child.send_signal(number)

        signal.signal(signal.SIGTERM, pass_on)
        # A terminal sends it to the child as well; we wait for what the child makes of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = child.wait()
    finally:
        services.stop()
    return 128 - code if code < 0 else code


def keeper_ended(directory: Path) -> bool:
    return not keeper_lives(directory)


def stop_keepers(base: Path) -> int:
    """Stop the services under `base`, also while they are used."""
    for kind in KINDS:
        state = read_json(base / kind / "state.json")
        keeper = state.get("keeper")
        if isinstance(keeper, int) and started_at(keeper) == state.get("started"):
            os.kill(keeper, signal.SIGTERM)
            wait_until(partial(keeper_ended, base / kind), 45)
    return 0


def show_status(base: Path) -> int:
    for kind in KINDS:
        lives = keeper_lives(base / kind)
        url = read_json(base / kind / "state.json").get("url")
        print(f"{kind}: {url if lives and url else 'not running'}")
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="services", description="The embedded services.")
    parser.add_argument("action", choices=["exec", "status", "stop"])
    parser.add_argument(
        "--disposable", type=Path, metavar="DIRECTORY", help="empty ones, under this directory"
    )
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    command = arguments[split + 1 :]
    base: Path = options.disposable.resolve() if options.disposable else LOCAL
    try:
        if options.action == "stop":
            return stop_keepers(base)
        if options.action == "status":
            return show_status(base)
        return execute(Services(base, durable=options.disposable is None), command)
    except QuickstartError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
