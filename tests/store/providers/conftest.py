"""The fakes of the platforms' stores, and the providers that ask them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from store.providers.apple import AppleProvider
from store.providers.base import App
from store.providers.google import GoogleProvider
from tests.fakes.app_store import AppStore
from tests.fakes.play_discovery import judge
from tests.fakes.play_keys import AUDIENCE, PACKAGE, PUSH_EMAIL
from tests.fakes.play_store import APPLICATIONS, PlayStore
from tests.store.providers.apple_setup import app_of, app_store_at


@pytest.fixture
def play(settings: LazySettings) -> Iterator[PlayStore]:
    """A Google Play of one's own. At the end, Google's discovery document judges every request
    that was made and every answer that it gave."""
    with PlayStore() as store:
        settings.GOOGLE_PLAY_URL = store.url
        settings.GOOGLE_TOKEN_URL = f"{store.url}/token"
        settings.GOOGLE_CERTS_URL = f"{store.url}/certs"
        yield store
    answers = {id(request): answer for request, answer in store.answered}
    for request in store.asked(APPLICATIONS):
        judge(request, answers.get(id(request)))


@pytest.fixture
def garden(play: PlayStore) -> App:
    """The game's app in Google Play."""
    options = {"notification_audience": AUDIENCE, "notification_email": PUSH_EMAIL}
    return App(PACKAGE, options, play.service_account())


@pytest.fixture
def google(garden: App) -> GoogleProvider:
    """Patient enough for a busy machine; tests of hanging servers make one that is not."""
    return GoogleProvider({garden.app_id: garden}.get, timeout=(5, 20))


@pytest.fixture
def app_store(tmp_path: Path) -> Iterator[AppStore]:
    """An App Store of one's own, whose root is the one that is trusted."""
    with app_store_at(tmp_path) as store:
        yield store


@pytest.fixture
def app(app_store: AppStore) -> App:
    """The game's app in the App Store."""
    return app_of(app_store)


@pytest.fixture
def apple() -> AppleProvider:
    return AppleProvider()
