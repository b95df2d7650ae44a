"""A TCP proxy that tests put before a service, to cut it off, silence it and bring it back."""

import contextlib
import select
import socket
import threading
from types import TracebackType


class Proxy:
    """Listens on `port` and passes on to `target` (host, port) until told otherwise.

    `cut` ends all connections and refuses new ones; `silence` keeps them open but passes
    nothing on; `restore` ends both.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.pairs: set[tuple[socket.socket, socket.socket]] = set()
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.open.set()
        self.passing = threading.Event()
        self.passing.set()
        self.closed = False
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed = True
        self.passing.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._end_all()

    def cut(self) -> None:
        self.open.clear()
        self._end_all()

    def silence(self) -> None:
        self.passing.clear()

    def restore(self) -> None:
        self.open.set()
        self.passing.set()

    def _end_all(self) -> None:
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.open.is_set():
                client.close()
                continue
            self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        pair = (client, server)
        with self.lock:
            self.pairs.add(pair)
        if not self.open.is_set():  # cut between the two
            self._end_all()
        try:
            while True:
                ready, _, _ = select.select(pair, [], [], 60)
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    self.passing.wait()
                    (server if end is client else client).sendall(data)
        except (OSError, ValueError):
            return
        finally:
            with self.lock:
                self.pairs.discard(pair)
            client.close()
            server.close()
