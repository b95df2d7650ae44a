"""The Python client against the real application over HTTP, and against one of misfortunes."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import Game
from accounts.services import game_files
from clients.python.evenkeel_client import Guest, PlayerClient, ServerClient, Transport
from tests.factories.accounts import publishable_key, secret_key

EXAMPLE = Path(settings.BASE_DIR) / "examples" / "lantern_garden.yaml"


@pytest.fixture
def garden(transactional_db: None) -> Game:
    """The example game."""
    text = EXAMPLE.read_text(encoding="utf-8")
    game_files.apply(text=text, dry_run=False, new_server_key=False)
    return Game.objects.get(slug="lantern-garden")


@pytest.fixture
def transport(live_server: Any) -> Transport:
    return Transport(live_server.url, patience=10)


@pytest.fixture
def join(garden: Game, transport: Transport) -> Callable[..., PlayerClient]:
    """Makes a client: of a new guest, unless one is named."""
    key = publishable_key(garden)

    def make(guest: Guest | None = None, **about: str) -> PlayerClient:
        return PlayerClient(transport, key, guest or Guest.new(), **about)

    return make


@pytest.fixture
def server(garden: Game, transport: Transport) -> ServerClient:
    return ServerClient(transport, secret_key(garden))


# A status whose body ends before its time.
CUT_SHORT = 299


class Script:
    """What a server answers, one after another: (status, headers, body), or None to hang up.

    The last one is repeated. `seen` has (method, path, headers, body) of each request.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any] | None] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.pauses: list[float] = []
        self.url = ""

    def transport(self, **options: Any) -> Transport:
        """A transport that notes its pauses instead of making them."""
        return Transport(self.url, sleep=self.pauses.append, **options)

    def keys(self) -> list[str | None]:
        return [headers.get("Idempotency-Key") for _, _, headers, _ in self.seen]


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            script.seen.append((self.command, self.path, dict(self.headers), body))
            answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, headers, value = answer
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if status == CUT_SHORT:
                data, self.close_connection = data[:-1], True
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815 (http.server's names)

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield script
    httpd.shutdown()
    httpd.server_close()
