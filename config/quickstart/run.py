"""`make run`: the whole backend on this machine, under one supervisor, until Ctrl-C.

    python -m config.quickstart.run [--stop-with-parent]

Reads PORT (8000), WEB_SERVER (gunicorn or granian), and DATABASE_URL, REDIS_URL and
CELERY_BROKER_URL where other services than the embedded ones are to be used.
"""

import argparse
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from types import FrameType

from config.quickstart.keeper import locked
from config.quickstart.layout import LOCAL, LOGS, ROOT, RUN, read_json, tail, write_json
from config.quickstart.prepare import KEYS, STAFF
from config.quickstart.processes import QuickstartError, before_exec, port_is_free, stop_group
from config.quickstart.services import Services
from config.quickstart.supervisor import Child, Supervisor, shown

READY_SECONDS = 90
SAME_SIGNAL_SECONDS = 1.0
QUEUES = "receipts,rollups,mail,default"
RUNNING = RUN / "running.json"


class StopRequested(BaseException):
    """Ctrl-C, SIGTERM, SIGHUP, or the end of the process that started us."""


def say(text: str) -> None:
    # Whoever reads our output may go away; that is no reason to stop.
    with suppress(OSError):
        print(text, flush=True)


def request_stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequested


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="run", description="Run Evenkeel on this machine.")
    parser.add_argument(
        "--stop-with-parent",
        action="store_true",
        help="stop when the process that started this one ends, however it ends",
    )
    options = parser.parse_args(arguments)
    parent = os.getppid() if options.stop_with_parent else None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else nohup wants it to live on
        signal.signal(signal.SIGHUP, request_stop)
    os.chdir(ROOT)
    try:
        with locked(RUN / "supervisor.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            if not alone:
                running = read_json(RUNNING)
                raise QuickstartError(
                    f"Evenkeel is already running from this folder: {running.get('url', '')} "
                    f"(pid {running.get('pid')}). Stop that one first (Ctrl-C where it runs)."
                )
            return Run(parent).run()
    except (QuickstartError, PermissionError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except StopRequested:
        return 0


def port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise QuickstartError(f"PORT is {text!r}; it has to be a number from 1 to 65535")
    return int(text)


class Run:
    """One run: what was started, to be stopped again in the opposite order."""

    def __init__(self, parent: int | None) -> None:
        self.parent = parent
        self.begun = time.monotonic()
        self.port = port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.services = Services()
        self.supervisor = Supervisor([], say)

    def run(self) -> int:
        write_json(RUNNING, {"pid": os.getpid(), "url": self.url})
        try:
            self.start()
            while True:
                self.check_parent()
                self.supervisor.watch()
                self.tell_news()
                time.sleep(0.2)
        except StopRequested:
            say("\nStopping …")
            return 0
        finally:
            self.stop()

    def start(self) -> None:
        say("Starting Evenkeel")
        # The names only, to find what an earlier run left; before the port is looked at.
        Supervisor(self.children({}), say).stop_orphans()
        if not port_is_free(self.port):
            raise QuickstartError(
                f"Port {self.port} is taken by another program. Stop that one, or choose another "
                f"port: PORT={self.port + 1} make run"
            )
        environment = os.environ | self.settings()
        if missing := self.services_missing(environment):
            say(f"  Starting {missing} …")
        environment |= self.services.start(environment)
        self.tell_news()
        self.prepare(environment)
        say("  Starting web, worker and scheduler …")
        self.supervisor.children = self.children(environment)
        self.supervisor.start()
        self.wait_until_ready()
        self.show_where_to_look()

    def settings(self) -> dict[str, str]:
        """What development settings need and the environment lacks; secrets are made once."""
        secret = LOCAL / "secret_key.json"
        if not read_json(secret).get("key"):
            write_json(secret, {"key": secrets.token_urlsafe(64)})
        metrics = RUN / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        defaults = {
            "DJANGO_ENV": "development",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": str(read_json(secret)["key"]),
            "PORT": str(self.port),
            "PUBLIC_URL": self.url,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "PYTHONUNBUFFERED": "1",
        }
        return {name: value for name, value in defaults.items() if not os.environ.get(name)}

    def services_missing(self, environment: dict[str, str]) -> str:
        names = []
        if not environment.get("DATABASE_URL"):
            names.append("PostgreSQL")
        if not (environment.get("REDIS_URL") and environment.get("CELERY_BROKER_URL")):
            names.append("Valkey")
        return " and ".join(names)

    def children(self, environment: dict[str, str]) -> list[Child]:
        celery = [sys.executable, "-m", "celery", "--app", "config"]
        # Players wait for the web server, and nobody for a job: it comes first.
        worker = [
            *("nice", "-n", "10", *celery, "worker", "--queues", QUEUES, "--concurrency", "2"),
            *("--loglevel", "INFO", "--without-mingle", "--without-gossip"),
            # RabbitMQ lets in only one of a name; another project may run on this machine.
            *("--hostname", f"evenkeel-{self.port}@%h"),
        ]
        beat = [*celery, "beat", "--loglevel", "WARNING", "--pidfile", ""]
        return [
            Child("web", self.web_command(), environment),
            Child("worker", worker, environment),
            # Asked to stop, it first writes to the database; if that is going down as well, the
            # error is caught further up, and the request is lost with it. It has nothing to save.
            Child("beat", beat, environment, parent_death=signal.SIGKILL),
        ]

    def web_command(self) -> list[str]:
        server = os.environ.get("WEB_SERVER") or "gunicorn"
        application = "config.wsgi:application"
        if server == "gunicorn":
            return [
                *(sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"),
                *("--bind", f"127.0.0.1:{self.port}", application),
            ]
        if server == "granian":
            return [
                *(sys.executable, "-m", "granian", "--interface", "wsgi"),
                *("--host", "127.0.0.1", "--port", str(self.port)),
                *("--workers", os.environ.get("WEB_WORKERS") or "2"),
                *("--blocking-threads", os.environ.get("WEB_THREADS") or "16", application),
            ]
        raise QuickstartError(f"WEB_SERVER is {server!r}; it has to be gunicorn or granian")

    def prepare(self, environment: dict[str, str]) -> None:
        """Migrate and fill the database; its output is on the terminal, its details in the log."""
        process = subprocess.Popen(
            [sys.executable, "-m", "config.quickstart.prepare"],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=before_exec(None, signal.SIGTERM),
        )
        try:
            _, errors = process.communicate()
        except StopRequested:
            stop_group(process.pid)
            process.wait()
            raise
        if process.returncode != 0:
            last = "\n".join(errors.decode(errors="replace").splitlines()[-15:])
            raise QuickstartError(f"{last}\nMore in {shown(LOGS / 'prepare.log')}")

    def wait_until_ready(self) -> None:
        """Wait for `/readyz`; raise QuickstartError with the log of what keeps failing."""
        deadline = time.monotonic() + READY_SECONDS
        state = "no answer yet"
        web = self.supervisor.children[0]
        while time.monotonic() < deadline and web.failures < 3:
            self.check_parent()
            self.supervisor.watch()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):  # noqa: S310 (our own address)
                    return
            except urllib.error.HTTPError as error:
                state = error.read().decode(errors="replace")
            except OSError as error:
                state = str(error)
            time.sleep(0.1)
        raise QuickstartError(
            f"The web server did not become ready ({state}).\n"
            f"The end of {shown(web.log)}:\n{tail(web.log)}"
        )

    def tell_news(self) -> None:
        for line in self.services.news():
            say(f"  {line}")

    def check_parent(self) -> None:
        if self.parent is not None and os.getppid() != self.parent:
            raise StopRequested

    def show_where_to_look(self) -> None:
        keys, staff = read_json(KEYS), read_json(STAFF)
        server_key = keys.get("server_key") or "made earlier; apply_game --new-server-key makes one"
        password = staff.get("password") or "the password you gave it"
        say(
            f"""
Evenkeel is running at {self.url} ({time.monotonic() - self.begun:.0f} s)

  API documentation   {self.url}/docs/
  Admin               {self.url}/admin/
    login             {staff.get("username", "admin")}
    password          {password}
  Game                {keys.get("game")}
    publishable key   {keys.get("publishable_key")}
    server key        {server_key}
  Logs                {shown(LOGS)}/

A day of play, from another terminal: make demo
Stop with Ctrl-C; everything is kept for the next start.
"""
        )

    def stop(self) -> None:
        """Stop the children, then the services. A second Ctrl-C kills what is still stopping."""

        begun = time.monotonic()

        def hurry(_number: int, _frame: FrameType | None) -> None:
            # make passes on a SIGTERM that the whole group had already: that is still the first.
            if time.monotonic() - begun > SAME_SIGNAL_SECONDS:
                self.supervisor.hurry = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, hurry)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.supervisor.stop()
        leased = bool(self.services.leases)
        if not self.services.stop():
            say("The services go on running: another command still uses them.")
        elif leased:
            say("Stopped.")
        RUNNING.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
