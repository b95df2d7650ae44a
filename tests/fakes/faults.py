"""A real HTTP server for tests: subclasses say what it answers, tests say how it fails.

    with PlayStore() as store:
        store.fail(TOO_MANY, CUT)               # the next two requests
        store.fail(HANG, on="/token")           # the next request for such a path
        store.fail(BROKEN, always=True)         # every request, until `heal()`

Each fault happens once, in the order given, and instead of the answer; `seen` has every request.
"""

import json
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived. `path` is as it was sent, still quoted; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def one(self, name: str) -> str | None:
        """The parameter's only value, or None without it."""
        values = self.query.get(name, [])
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: bytes as they are, anything else as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Slow:
    """The right answer, after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, and the connection stays open until the server ends."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The right answer's head and the first half of its body; then the connection is reset."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The connection is closed without a byte: after the request was done, where `done`."""

    done: bool = False


Fault = Answer | Slow | Hang | Cut | Refuse

HANG, CUT, REFUSE, LOST_ANSWER = Hang(), Cut(), Refuse(), Refuse(done=True)
BROKEN = Answer(500, {})
UNAVAILABLE = Answer(503, b"", content_type="text/plain")
TOO_MANY = Answer(429, {}, {"Retry-After": "7"})
# What a proxy or a captive portal says in a store's name, once with a status that means success.
HTML = Answer(502, b"<html><body>Bad gateway</body></html>", content_type="text/html")
HTML_200 = Answer(200, b"<html><body>Hello</body></html>", content_type="text/html")


@dataclass(slots=True)
class Planned:
    fault: Fault
    on: re.Pattern[str]
    always: bool


class FaultyServer(ABC):
    """A context manager: within, it listens on a free port of 127.0.0.1.

    url          where, without a slash at the end
    seen         every request, in order of arrival
    connections  how many connections were opened
    errors       what the fake itself raised; the end of the `with` raises them
    """

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.connections = 0
        self.errors: list[Exception] = []
        self.url = ""
        self.lock = threading.RLock()
        self._planned: list[Planned] = []
        self._ending = threading.Event()
        self._open: set[socket.socket] = set()

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """The right answer. Called with `lock` held: one at a time."""

    def fail(self, *faults: Fault, on: str = "", always: bool = False) -> None:
        """Fail so, one fault a request, whose path `on` (a regular expression) is found in."""
        with self.lock:
            self._planned += [Planned(fault, re.compile(on), always) for fault in faults]

    @property
    def planned(self) -> int:
        """How many faults have not happened yet."""
        with self.lock:
            return len(self._planned)

    def heal(self) -> None:
        """Forget all faults that have not happened."""
        with self.lock:
            self._planned.clear()

    def asked(self, on: str) -> list[Request]:
        """The requests so far whose path `on` is found in."""
        with self.lock:
            return [request for request in self.seen if re.search(on, request.path)]

    def __enter__(self) -> Self:
        self._ending.clear()
        self._http = _Listener(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.01,), daemon=True, name="fake-store"
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._http.shutdown()
        with self.lock:
            for connection in self._open:
                _reset(connection)
        # Waits for the threads of the connections.
        self._http.server_close()
        self._thread.join()
        if self.errors and not error:
            raise ExceptionGroup("The fake itself failed", self.errors)

    def take(self, request: Request) -> Fault | None:
        """Note the request, and the fault that it meets, if any."""
        with self.lock:
            self.seen.append(request)
            for planned in self._planned:
                if planned.on.search(request.path):
                    if not planned.always:
                        self._planned.remove(planned)
                    return planned.fault
            return None

    def opened(self, connection: socket.socket) -> None:
        with self.lock:
            self.connections += 1
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self.lock:
            self._open.discard(connection)

    def wait(self, seconds: float | None) -> None:
        """Wait, but not beyond the server's end."""
        self._ending.wait(seconds)


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no error."""


class _Handler(BaseHTTPRequestHandler):
    fake: FaultyServer
    protocol_version = "HTTP/1.1"
    # Head and body go in two writes; without this the second waits for the client's acknowledgment.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.fake.opened(self.connection)

    def finish(self) -> None:
        self.fake.closed(self.connection)
        super().finish()

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=parse_qs(url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        match self.fake.take(request):
            case Hang():
                self.fake.wait(None)
                self.close_connection = True
            case Refuse(done):
                if done:
                    self.right_answer(request)
                _reset(self.connection)
                self.close_connection = True
            case Slow(seconds):
                self.fake.wait(seconds)
                self.send(self.right_answer(request))
            case Cut():
                self.send(self.right_answer(request), cut=True)
            case Answer() as wrong:
                self.send(wrong)
            case None:
                self.send(self.right_answer(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815 (http.server's names)

    def right_answer(self, request: Request) -> Answer:
        with self.fake.lock:
            try:
                return self.fake.answer(request)
            except Exception as error:
                self.fake.errors.append(error)
                return Answer(599, {"error": repr(error)})

    def send(self, answer: Answer, *, cut: bool = False) -> None:
        data = answer.data()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            _reset(self.connection)
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Quietly."""


def _reset(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
