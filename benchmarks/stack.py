"""Everything that is measured, on private ports with durable settings."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from config.quickstart.services import Services

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".local" / "benchmarks"
STARTS_WITHIN = 60.0
SETTINGS = {
    "DJANGO_ENV": "production",
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "ALLOWED_HOSTS": "127.0.0.1",
    "PUBLIC_URL": "https://benchmark.example",
    "TRUSTED_PROXIES": "127.0.0.0/8",
    "LOG_LEVEL": "WARNING",
    "LOG_REQUESTS": "false",
    "ACCESS_TOKEN_SECONDS": "86400",
    "REDIS_KEY_PREFIX": "ekbench",
    **{
        f"RATE_LIMIT_{name}": "100000000/60"
        for name in (
            *("PLAYER", "SCORES", "SERVER", "ADDRESS"),
            *("SIGN_IN", "SIGN_IN_IDENTITY", "REGISTER"),
        )
    },
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def token_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


@contextlib.contextmanager
def services() -> Iterator[dict[str, str]]:
    """The environment with a database of one's own, in the services that the environment names or
    in embedded ones (durable, under .local/benchmarks)."""
    embedded = Services(WORK)
    found = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
    found["CELERY_BROKER_URL"] = found.get("REDIS_URL", "")
    try:
        found |= embedded.start({name: url for name, url in found.items() if url})
        name = f"evenkeel_bench_{os.getpid()}"
        with psycopg.connect(_dsn(found["DATABASE_URL"]), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        url = _with_database(found["DATABASE_URL"], name)
        secret = {"SECRET_KEY": secrets.token_urlsafe(64), "ACCESS_TOKEN_KEYS": token_key()}
        yield {**SETTINGS, **secret, **found, "DATABASE_URL": url}
        with psycopg.connect(_dsn(found["DATABASE_URL"]), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        embedded.stop()


def _dsn(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1)


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def database_pid(url: str) -> int:
    """The postmaster, on this machine."""
    with psycopg.connect(_dsn(url)) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return parent_of(row[0])


def redis_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def versions(environment: Mapping[str, str]) -> dict[str, str]:
    """What the services are, and that PostgreSQL is durable."""
    with psycopg.connect(_dsn(environment["DATABASE_URL"])) as connection:
        settings = {}
        for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers"):
            row = connection.execute(f"SHOW {name}").fetchone()
            settings[name] = str(row[0]) if row else ""
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        info = client.info("server")
    store = info.get("server_name", "redis")
    version = info.get("valkey_version", info["redis_version"])
    return {
        "PostgreSQL": settings.pop("server_version"),
        **settings,
        "Redis": f"{store} {version}",
    }


@dataclass
class Server:
    """A web server with one application, on a port of its own."""

    kind: str
    application: str
    workers: int
    threads: int
    environment: Mapping[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        if self.kind == "granian":
            return [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--workers", str(self.workers)),
                *("--blocking-threads", str(self.threads), "--log-level", "warning"),
                self.application,
            ]
        return [
            *(sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"),
            *("--worker-class", "sync" if self.kind == "gunicorn-sync" else "gthread"),
            *("--bind", f"127.0.0.1:{self.port}", "--log-level", "warning", self.application),
        ]

    def start(self, health: str) -> None:
        log = WORK / f"{self.kind}-{self.application.partition(':')[0]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            **self.environment,
            "WEB_WORKERS": str(self.workers),
            "WEB_THREADS": str(self.threads),
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                with urllib.request.urlopen(self.url + health, timeout=5):  # noqa: S310 (ours)
                    return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self.command()} did not start; see {log}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
