"""The fakes' faults are what they say, as an ordinary client sees them."""

import threading
from collections.abc import Iterator
from time import monotonic

import pytest
import requests

from tests.fakes.faults import (
    BROKEN,
    CUT,
    HANG,
    HTML_200,
    LOST_ANSWER,
    REFUSE,
    TOO_MANY,
    Answer,
    Fault,
    FaultyServer,
    Request,
    Slow,
)


class Echo(FaultyServer):
    def answer(self, request: Request) -> Answer:
        return Answer(body={"path": request.path, "q": request.one("q"), "n": len(self.seen)})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def test_without_faults_it_answers_and_notes_what_it_saw(echo: Echo) -> None:
    with requests.Session() as session:
        answers = [session.get(f"{echo.url}/a%2Fb?q=1", timeout=5) for _ in range(3)]
    assert answers[-1].json() == {"path": "/a%2Fb", "q": "1", "n": 3}
    assert [request.path for request in echo.seen] == ["/a%2Fb"] * 3
    assert echo.connections == 1


def test_faults_happen_in_order_to_the_paths_they_are_for(echo: Echo) -> None:
    echo.fail(TOO_MANY, BROKEN, on="^/x")
    assert requests.get(f"{echo.url}/y", timeout=5).status_code == 200
    first, second, third = (requests.get(f"{echo.url}/x", timeout=5) for _ in range(3))
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert [second.status_code, third.status_code] == [500, 200]
    echo.fail(HTML_200, always=True)
    assert [requests.get(echo.url, timeout=5).text[:6] for _ in range(2)] == ["<html>"] * 2
    echo.heal()
    assert requests.get(echo.url, timeout=5).json()


@pytest.mark.parametrize("fault", [CUT, REFUSE, LOST_ANSWER])
def test_a_broken_connection_is_an_error_of_the_connection(echo: Echo, fault: Fault) -> None:
    echo.fail(fault)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        requests.get(echo.url, timeout=5)
    assert requests.get(echo.url, timeout=5).json()


def test_a_hang_ends_with_the_clients_patience_or_the_server() -> None:
    with Echo() as echo:
        echo.fail(HANG, HANG)
        with pytest.raises(requests.ReadTimeout):
            requests.get(echo.url, timeout=(5, 0.2))
        failed: list[Exception] = []

        def wait() -> None:
            try:
                requests.get(echo.url, timeout=60)
            except requests.RequestException as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(echo.seen) < 2:
            assert waiting.is_alive()
    waiting.join(10)
    assert failed


def test_slow_is_the_right_answer_late(echo: Echo) -> None:
    echo.fail(Slow(0.3))
    start = monotonic()
    assert requests.get(echo.url, timeout=5).json()
    assert monotonic() - start >= 0.3


def test_a_mistake_of_the_fake_fails_the_test() -> None:
    with pytest.raises(ExceptionGroup, match="The fake itself failed"), Echo() as echo:
        assert requests.get(f"{echo.url}/?q=1&q=2", timeout=5).status_code == 599
