"""Everything that can go wrong on the way to the App Store, as one of three errors."""

import pickle
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from store.providers import apple_client
from store.providers.apple import AppleProvider
from store.providers.base import (
    App,
    MisconfiguredError,
    ProviderError,
    RejectedError,
    TryAgainError,
)
from tests.fakes.app_store import AppStore, refused
from tests.fakes.faults import (
    BROKEN,
    CUT,
    HANG,
    HTML,
    HTML_200,
    LOST_ANSWER,
    REFUSE,
    TOO_MANY,
    UNAVAILABLE,
    Answer,
    Fault,
    Slow,
)
from tests.store.providers.apple_setup import app_of

LATER, NEVER, OURS = TryAgainError, RejectedError, MisconfiguredError


def ask(apple: AppleProvider, app: App, store: AppStore, number: str = "") -> Any:
    return apple.verify(app, apple.read_receipt({"TransactionID": number or store.buy()}))


def error_of(apple: AppleProvider, app: App, store: AppStore, *faults: Fault) -> ProviderError:
    store.fail(*faults)
    with pytest.raises(ProviderError) as failed:
        ask(apple, app, store)
    return failed.value


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apple_client, "TIMEOUT", (5, 0.3))


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (BROKEN, LATER, "platform_unavailable"),
        (UNAVAILABLE, LATER, "platform_unavailable"),
        (HTML, LATER, "platform_unavailable"),
        (HTML_200, LATER, "platform_bad_answer"),
        (TOO_MANY, LATER, "platform_busy"),
        (CUT, LATER, "platform_unavailable"),
        (REFUSE, LATER, "platform_unavailable"),
        (LOST_ANSWER, LATER, "platform_unavailable"),
        (Answer(200, []), LATER, "platform_bad_answer"),
        (Answer(200, {}), LATER, "platform_bad_answer"),
        (Answer(200, {"signedTransactionInfo": 5}), LATER, "platform_bad_answer"),
        (Answer(200, {"signedTransactionInfo": "a.b.c"}), LATER, "platform_bad_answer"),
        (Answer(404, b"<html>"), LATER, "platform_bad_answer"),
        (Answer(302, {}, {"Location": "/elsewhere"}), LATER, "platform_bad_answer"),
        (Answer(408, {}), LATER, "platform_unavailable"),
        (refused(500, 5000000, "General"), LATER, "platform_unavailable"),
        (refused(500, 5000001, "General, retryable"), LATER, "platform_unavailable"),
        (refused(404, 4040002, "Account, retryable"), LATER, "platform_unavailable"),
        (refused(404, 4040004, "App, retryable"), LATER, "platform_unavailable"),
        (refused(404, 4040006, "Original, retryable"), LATER, "platform_unavailable"),
        (refused(429, 4290000, "Rate limit"), LATER, "platform_busy"),
        (refused(400, 4000006, "Id"), NEVER, "unknown_transaction"),
        (refused(404, 4040001, "Account"), NEVER, "unknown_transaction"),
        (refused(400, 4000000, "General bad request"), OURS, "platform_misconfigured"),
        (refused(400, 4000002, "App id"), OURS, "platform_misconfigured"),
        (refused(404, 4040003, "App"), OURS, "platform_misconfigured"),
        (Answer(403, b""), OURS, "platform_misconfigured"),
    ],
)
def test_each_answer_means_one_thing(
    apple: AppleProvider,
    app: App,
    app_store: AppStore,
    fault: Fault,
    kind: type[ProviderError],
    code: str,
) -> None:
    # Rejected here, the id would be asked for in the sandbox, which answers as well.
    error = error_of(apple, app, app_store, fault, fault)
    assert isinstance(error, kind)
    assert error.code == code
    app_store.heal()
    assert ask(apple, app, app_store)


def test_an_error_is_read_whatever_its_content_type(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    """The library reads the number only beside exactly `application/json`."""
    answer = Answer(404, {"errorCode": 4040004}, content_type="application/json;charset=utf-8")
    assert isinstance(error_of(apple, app, app_store, answer), TryAgainError)


@pytest.mark.parametrize(("fault", "counts"), [(BROKEN, True), (refused(404, 4040006, ""), False)])
def test_what_is_said_of_one_transaction_is_not_held_against_the_platform(
    apple: AppleProvider, app: App, app_store: AppStore, fault: Fault, counts: bool
) -> None:
    error = error_of(apple, app, app_store, fault)
    assert isinstance(error, TryAgainError)
    assert error.counts is counts


def test_a_key_that_both_environments_refuse(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    wrong = app_of(app_store, key_id="ANOTHER")
    with pytest.raises(MisconfiguredError, match="401"):
        ask(apple, wrong, app_store)
    assert ask(apple, app, app_store)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        (lambda: str(int(datetime.now(UTC).timestamp() * 1000) + 60_000), 50, 60),
        (lambda: str(int(datetime.now(UTC).timestamp() * 1000) - 60_000), 0, 0),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True), 110, 120),
    ],
)
def test_retry_after_is_obeyed_in_apples_milliseconds_too(
    apple: AppleProvider, app: App, app_store: AppStore, value: Any, least: float, most: float
) -> None:
    header = value if isinstance(value, str) else value()
    error = error_of(apple, app, app_store, Answer(429, {}, {"Retry-After": header}))
    assert isinstance(error, TryAgainError)
    assert error.after is not None
    assert least <= error.after <= most


@pytest.mark.parametrize("value", ["", "soon", "-5", "1" * 40, "²"])
def test_a_retry_after_that_is_none(
    apple: AppleProvider, app: App, app_store: AppStore, value: str
) -> None:
    headers = {"Retry-After": value.encode().decode("latin-1")}
    error = error_of(apple, app, app_store, Answer(503, {}, headers))
    assert isinstance(error, TryAgainError)
    assert error.after is None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [HANG, Slow(2)])
def test_a_server_that_does_not_answer_is_given_up(
    apple: AppleProvider, app: App, app_store: AppStore, fault: Fault
) -> None:
    assert error_of(apple, app, app_store, fault).code == "platform_unavailable"


def test_nobody_listens(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    app_store._http.socket.close()
    with pytest.raises(TryAgainError):
        ask(apple, app, app_store)


def test_connections_are_kept_and_shared_by_threads(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    numbers = [app_store.buy() for _ in range(10)]
    for number in numbers:
        ask(apple, app, app_store, number)
    assert app_store.connections == 1
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: found.extend(ask(apple, app, app_store, n)))
        for n in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(line.transaction_id for line in found) == numbers


def test_a_netrc_does_not_speak_in_our_place(
    apple: AppleProvider,
    app: App,
    app_store: AppStore,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert ask(apple, app, app_store)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_key_that_is_none_is_our_mistake_and_is_not_repeated(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    other_kind = pem(rsa.generate_private_key(65537, 2048))
    other_curve = pem(ec.generate_private_key(ec.SECP384R1()))
    for secret in ("", "secret words", other_kind, other_curve):
        wrong = App(app.app_id, app.options, secret)
        with pytest.raises(MisconfiguredError) as failed:
            ask(apple, wrong, app_store)
        assert not secret or secret not in f"{failed.value!r} {failed.value.__cause__!r}"
    for name in ("issuer_id", "key_id"):
        for value in (None, "", "  ", 5):
            with pytest.raises(MisconfiguredError, match=name):
                ask(apple, app_of(app_store, **{name: value}), app_store)
    # As it often arrives in an environment variable.
    escaped = App(app.app_id, app.options, app.secret.replace("\n", "\\n"))
    assert ask(apple, escaped, app_store)


def test_no_error_tells_the_id_or_the_address(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    app_store.fail(CUT, BROKEN, HTML_200)
    for _ in range(3):
        with pytest.raises(TryAgainError) as failed:
            ask(apple, app, app_store, number)
        assert number not in f"{failed.value!r} {failed.value.detail} {failed.value.__cause__!r}"


def test_errors_can_be_pickled(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    """The library's own cannot, and workers' errors travel."""
    bad = app_store.jws(app_store.buy(), bundleId="com.other")
    with pytest.raises(RejectedError) as failed:
        apple.verify(app, apple.read_receipt({"jws": bad}))
    again = pickle.loads(pickle.dumps(failed.value))  # noqa: S301 (our own)
    assert (again.args, type(again)) == (failed.value.args, RejectedError)


def test_another_transaction_in_the_answer_is_not_taken(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    other = Answer(200, {"signedTransactionInfo": app_store.jws(app_store.buy("gems_100000"))})
    assert error_of(apple, app, app_store, other).code == "platform_bad_answer"


def test_no_cookie_is_kept(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    app_store.fail(Answer(503, {}, {"Set-Cookie": "session=1"}))
    with pytest.raises(TryAgainError):
        ask(apple, app, app_store)
    ask(apple, app, app_store)
    assert "cookie" not in app_store.seen[-1].headers
