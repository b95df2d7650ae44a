"""What goes wrong between us and Google Play, and what each of it means."""

import json
import logging
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from django.conf import LazySettings

from store.providers.base import App, MisconfiguredError, RejectedError, TryAgainError
from store.providers.google import GoogleProvider
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
from tests.fakes.play_keys import OTHER_KEY, pem
from tests.fakes.play_store import PlayStore, failure
from tests.threads import at_once

PRODUCTS, TOKEN = "productsv2", "^/token$"
QUICK = (1, 0.3)


@pytest.fixture
def token(play: PlayStore) -> str:
    return play.sell("gems_small")


def verify(google: GoogleProvider, app: App, token: str) -> str:
    (found,) = google.verify(app, google.read_receipt({"token": token}))
    return found.transaction_id


def quota(reason: str) -> Answer:
    return failure(403, reason)


@pytest.mark.parametrize(
    ("fault", "code", "counts"),
    [
        (BROKEN, "platform_unavailable", True),
        (UNAVAILABLE, "platform_unavailable", True),
        (TOO_MANY, "platform_busy", True),
        (quota("rateLimitExceeded"), "platform_busy", True),
        (quota("quotaExceeded"), "platform_busy", True),
        (failure(409, "concurrentUpdate"), "platform_conflict", False),
        (HTML, "platform_unavailable", True),
        (HTML_200, "platform_bad_answer", True),
        (Answer(404, b"<html>No such page</html>"), "platform_bad_answer", True),
        (Answer(302, b"", {"Location": "https://elsewhere.example/"}), "platform_bad_answer", True),
        (Answer(200, {"productLineItem": 7}), "platform_bad_answer", True),
        (Answer(418, {}), "platform_bad_answer", True),
        (CUT, "platform_unavailable", True),
        (REFUSE, "platform_unavailable", True),
        (LOST_ANSWER, "platform_unavailable", True),
    ],
    ids=str,
)
def test_fault__tried_again_and_then_it_works(
    google: GoogleProvider,
    garden: App,
    play: PlayStore,
    token: str,
    fault: Fault,
    code: str,
    counts: bool,
) -> None:
    play.fail(fault, on=PRODUCTS)
    with pytest.raises(TryAgainError) as later:
        verify(google, garden, token)
    assert (later.value.code, later.value.counts) == (code, counts)
    assert verify(google, garden, token) == token


@pytest.mark.parametrize("on", [PRODUCTS, TOKEN])
@pytest.mark.parametrize("fault", [HANG, Slow(2)], ids=str)
def test_fault__no_answer_in_time__tried_again(
    garden: App, play: PlayStore, token: str, fault: Fault, on: str
) -> None:
    google = GoogleProvider(timeout=QUICK)
    play.fail(fault, on=on)
    began = datetime.now(UTC)
    with pytest.raises(TryAgainError) as later:
        verify(google, garden, token)
    assert later.value.code == "platform_unavailable"
    assert datetime.now(UTC) - began < timedelta(seconds=1.9)


def test_fault__nobody_listens__tried_again(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, settings: LazySettings
) -> None:
    verify(google, garden, token)
    settings.GOOGLE_PLAY_URL = "http://127.0.0.1:1"
    with pytest.raises(TryAgainError):
        verify(google, garden, token)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("later", None),
        ("-3", None),
        ("Fri, 32 Foo 2026", None),
        ("Fri, 20 Nov 2015 10:00:00 GMT", 0.0),
    ],
)
def test_retry_after__seconds_or_date(
    google: GoogleProvider,
    garden: App,
    play: PlayStore,
    token: str,
    value: str,
    seconds: float | None,
) -> None:
    play.fail(Answer(503, {}, {"Retry-After": value}), on=PRODUCTS)
    with pytest.raises(TryAgainError) as later:
        verify(google, garden, token)
    assert later.value.after == seconds


def test_retry_after__date_to_come(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    later_on = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    play.fail(Answer(429, {}, {"Retry-After": later_on}), on=PRODUCTS)
    with pytest.raises(TryAgainError) as later:
        verify(google, garden, token)
    assert later.value.after is not None
    assert 60 < later.value.after <= 120


@pytest.mark.parametrize(
    "fault", [failure(403, "permissionDenied"), failure(404, "applicationNotFound")]
)
def test_refused_for_what_we_are__misconfigured(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, fault: Answer
) -> None:
    play.fail(fault, on=PRODUCTS)
    with pytest.raises(MisconfiguredError) as error:
        verify(google, garden, token)
    assert error.value.code == "platform_misconfigured"


@pytest.mark.parametrize(
    "fault", [failure(400, "invalid"), failure(404, "purchaseTokenNotFound"), Answer(404, b"")]
)
def test_refused_for_the_token__rejected(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, fault: Answer
) -> None:
    play.fail(fault, on=PRODUCTS)
    with pytest.raises(RejectedError) as refusal:
        verify(google, garden, token)
    assert refusal.value.code == "unknown_transaction"


# Access tokens


def test_access_token__one_for_many_calls_and_one_connection(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    for _ in range(3):
        verify(google, garden, token)
    assert (len(play.asked(TOKEN)), play.connections) == (1, 1)


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "control"])
def test_access_token__many_threads__asked_for_once(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, is_guarded: bool
) -> None:
    if not is_guarded:
        google._connection(garden)._lock = nullcontext()  # type: ignore[assignment]  # no lock
    play.fail(Slow(0.2), on=TOKEN, always=True)
    assert at_once(8, lambda _: verify(google, garden, token)) == [token] * 8
    assert (len(play.asked(TOKEN)) == 1) is is_guarded


def test_access_token__refused__a_new_one_once(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    verify(google, garden, token)
    play.revoke_access()
    assert verify(google, garden, token) == token
    assert len(play.asked(TOKEN)) == 2


def test_access_token__refused_again__misconfigured(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    play.fail(failure(401, "authError"), on=PRODUCTS, always=True)
    with pytest.raises(MisconfiguredError):
        verify(google, garden, token)
    assert (len(play.asked(PRODUCTS)), len(play.asked(TOKEN))) == (2, 2)


@pytest.mark.parametrize(
    "fault",
    [BROKEN, TOO_MANY, HTML, HTML_200, CUT, REFUSE, Answer(404, {}), Answer(200, {})],
    ids=str,
)
def test_access_token__can_not_be_had__tried_again_without_sleeping(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, fault: Fault
) -> None:
    play.fail(fault, on=TOKEN)
    with pytest.raises(TryAgainError):
        verify(google, garden, token)
    assert len(play.asked(TOKEN)) == 1
    assert verify(google, garden, token) == token


def test_access_token__oauth_server_says_that_it_is_away__tried_again(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    play.fail(Answer(400, {"error": "temporarily_unavailable"}), on=TOKEN, always=True)
    with pytest.raises(TryAgainError):
        verify(google, garden, token)


@pytest.mark.parametrize(
    "answer",
    [Answer(400, {"error": "invalid_grant"}), Answer(401, b"x"), Answer(400, {"error": "§"})],
)
def test_access_token__service_account_refused__misconfigured(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, answer: Answer
) -> None:
    play.fail(answer, on=TOKEN)
    with pytest.raises(MisconfiguredError) as error:
        verify(google, garden, token)
    assert error.value.detail.startswith("No access token: ")


def test_access_token__another_accounts_key__refused_by_the_fake(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    forged = replace(garden, secret=play.service_account(private_key=pem(OTHER_KEY)))
    with pytest.raises(MisconfiguredError) as error:
        verify(google, forged, token)
    assert error.value.detail == "No access token: invalid_grant"


@pytest.mark.parametrize("secret", ["", "{", "[]", "7", "{}", '{"client_email": "x"}'])
def test_secret__no_service_account__misconfigured(
    google: GoogleProvider, garden: App, play: PlayStore, token: str, secret: str
) -> None:
    with pytest.raises(MisconfiguredError) as error:
        verify(google, replace(garden, secret=secret), token)
    assert error.value.code == "platform_misconfigured"
    assert play.seen == []


def test_secret__changed__the_new_one_is_used(
    google: GoogleProvider, garden: App, play: PlayStore, token: str
) -> None:
    with pytest.raises(MisconfiguredError):
        verify(google, replace(garden, secret="{}"), token)
    verify(google, garden, token)
    rotated = replace(garden, secret=play.service_account(private_key_id="new"))
    verify(google, rotated, token)
    assert len(play.asked(TOKEN)) == 2


def test_netrc_and_cookies__do_not_take_the_tokens_place(
    google: GoogleProvider,
    garden: App,
    play: PlayStore,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    play.fail(Answer(503, {}, {"Set-Cookie": "a=b; Path=/"}), on=PRODUCTS)
    with pytest.raises(TryAgainError):
        verify(google, garden, token)
    verify(google, garden, token)
    assert all("cookie" not in request.headers for request in play.seen)
    assert all(
        request.headers["authorization"].startswith("Bearer ya29.")
        for request in play.asked("androidpublisher")
    )


# What may be read in logs and by players


def test_errors__name_no_token_and_no_key(
    google: GoogleProvider,
    garden: App,
    play: PlayStore,
    token: str,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for fault in (BROKEN, CUT, REFUSE, HTML, failure(400, f"x {token}"), failure(403, token)):
        play.fail(fault, on="tokens")
        with pytest.raises((TryAgainError, RejectedError, MisconfiguredError)) as error:
            verify(google, garden, token)
        said.append(f"{error.value.code} {error.value.detail}")
    play.fail(BROKEN, on="orders")
    verify(google, garden, token)
    key = json.loads(garden.secret)["private_key"]
    with pytest.raises(MisconfiguredError) as error:
        verify(google, replace(garden, secret=key), token)
    said.append(str(error.value))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("store")]
    for text in (*said, *ours):
        assert token not in text
        assert "PRIVATE KEY" not in text
    assert "PRIVATE KEY" not in repr(garden)


def test_provider__many_threads__each_its_own_purchase(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    tokens = [play.sell("gems_small") for _ in range(16)]
    assert at_once(16, lambda number: verify(google, garden, tokens[number])) == tokens
