"""Real money in the back office, and in the game file."""

import json
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.urls import reverse

from accounts.models import Game, Player, StaffUser
from accounts.services import game_files
from config.settings.env import Environment as Variables
from store import definition_platforms
from store.models import Order, OwnerConflict, PlatformApp, PlatformNotice
from store.platforms import platform_by_app, platform_of
from store.providers.base import WHOLE, MisconfiguredError
from store.services import platform_apps
from tests.fakes.platform import NAME, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import other, player, shelf, status
from tests.store.test_admin import signed_in

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


def url_of(name: str, row: Any = None) -> str:
    return reverse(f"admin:store_{name}", args=[] if row is None else [row.pk])


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


def test_pages__show_what_happened_and_no_receipt(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.say(price_minor_units=99, price_currency="EUR", token="secret-token")
    order = shelf.process(shelf.submit(player, proof="secret-proof"))
    shelf.process(shelf.submit(other))
    shelf.hear(at=1, revoked=WHOLE)
    shelf.notice()
    client = signed_in(StaffUser.Role.SUPPORT)
    purchase = shelf.purchase()

    pages = [
        client.get(url_of("order_changelist")),
        client.get(url_of("order_changelist") + f"?q={player.pk}"),
        client.get(url_of("order_change", order)),
        client.get(url_of("platformpurchase_changelist") + "?q=t1"),
        client.get(url_of("platformpurchase_change", purchase)),
        client.get(url_of("platformnotice_changelist")),
        client.get(url_of("platformnotice_change", PlatformNotice.objects.get())),
        client.get(url_of("ownerconflict_changelist")),
        client.get(url_of("ownerconflict_change", OwnerConflict.objects.get())),
        client.get(url_of("platformapp_changelist")),
        client.get(reverse("admin:accounts_player_change", args=[player.pk])),
    ]

    for page in pages:
        assert "secret" not in text_of(page)
    assert "Refunded" in text_of(pages[4])
    assert str(purchase.pk) in text_of(pages[2])


def test_order__dead__verified_again_by_support(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = MisconfiguredError("bad_key")
    order = shelf.process(shelf.submit(player))
    shelf.say()
    action = {"action": "verify_again", "_selected_action": [str(order.pk)]}
    analyst = signed_in(StaffUser.Role.ANALYST)
    analyst.post(url_of("order_changelist"), action)
    assert status(order) == ("dead", "bad_key")

    signed_in(StaffUser.Role.SUPPORT).post(url_of("order_changelist"), action)

    assert Order.objects.get().state == "retry"
    assert LogEntry.objects.filter(object_pk=str(order.pk)).exists()
    assert status(shelf.process(order)) == ("granted", None)


def test_notice__dead__processed_again(shelf: Shelf) -> None:
    notice = shelf.notice()
    PlatformNotice.objects.update(state="dead")

    signed_in(StaffUser.Role.SUPPORT).post(
        url_of("platformnotice_changelist"),
        {"action": "process_again", "_selected_action": [str(notice.pk)]},
    )

    assert PlatformNotice.objects.get().state == "received"


@pytest.mark.parametrize("way", ["keep", "move"])
def test_conflict__decided(shelf: Shelf, player: Player, other: Player, way: str) -> None:
    shelf.buy(player)
    shelf.process(shelf.submit(other))
    conflict = OwnerConflict.objects.get()
    client = signed_in(StaffUser.Role.SUPPORT)
    url = url_of(f"ownerconflict_{way}", conflict)
    assert client.get(url).status_code == 200
    assert OwnerConflict.objects.get().state == "open"

    client.post(url, {"reason": "a ticket"})

    assert OwnerConflict.objects.get().state == {"keep": "kept", "move": "moved"}[way]
    owner = player if way == "keep" else other
    assert balance_of(owner.pk, "gems") == (100, 0)


def test_refunder__is_flagged_on_the_players_page(shelf: Shelf, player: Player) -> None:
    for number in range(3):
        shelf.buy(player, f"t{number}")
        shelf.hear(f"t{number}", 1, revoked=WHOLE)

    page = signed_in(StaffUser.Role.SUPPORT).get(
        reverse("admin:accounts_player_change", args=[player.pk])
    )

    assert "Had money back 3 times." in text_of(page)


# The game file


def garden(*platforms: dict[str, Any], slug: str = "garden") -> str:
    game = {"slug": slug, "name": "Garden", "timezone": "UTC"}
    return json.dumps({"game": game, "platforms": platforms})


APPLE = {
    "provider": "apple",
    "app_id": "com.garden",
    "key_name": "garden_apple",
    "sandbox": "testers",
    "options": {"app_apple_id": 1},
}


def test_file__applied_exported_and_archived(settings: Any) -> None:
    settings.PLATFORM_KEYS = {"garden_apple": "-----KEY-----"}
    sandbox = {"provider": "sandbox", "sandbox": "all"}
    game_files.apply(text=garden(APPLE, sandbox))
    game = Game.objects.get(slug="garden")
    section = definition_platforms.PlatformsSection()

    assert section.export(game) == [APPLE, sandbox]
    assert game_files.apply(text=garden(APPLE, sandbox)).changed == 0
    found = platform_by_app("apple", "com.garden")
    assert found is not None
    assert found.app().secret == "-----KEY-----"
    assert found.app().options == {"app_apple_id": 1}
    assert platform_by_app("sandbox", "garden") is not None

    game_files.apply(text=garden({**APPLE, "sandbox": "off"}))
    assert PlatformApp.objects.get(provider="apple").sandbox == "off"
    assert platform_of(game.pk, "sandbox") is None
    assert platform_by_app("sandbox", "garden") is None


@pytest.mark.parametrize(
    ("platforms", "pointer"),
    [
        ([{"provider": "steam", "app_id": "x"}], "/platforms/0/provider"),
        ([{"provider": "apple"}], "/platforms/0/app_id"),
        ([APPLE, APPLE], "/platforms/1/provider"),
        ([{**APPLE, "key_name": "Not-A-Name"}], "/platforms/0/key_name"),
        ([{"provider": "google", "app_id": "com.taken"}], "/platforms/0/app_id"),
        ([{"provider": "google", "app_id": "x", "nope": 1}], "/platforms/0/nope"),
    ],
)
def test_file__mistakes(game: Game, platforms: list[Any], pointer: str) -> None:
    PlatformApp.objects.create(game=game, provider="google", app_id="com.taken")

    with pytest.raises(game_files.DefinitionError) as refused:
        game_files.apply(text=garden(*platforms))

    assert [error.pointer for error in refused.value.findings] == [pointer]


def test_write__nothing__nothing_happens(game: Game) -> None:
    platform_apps.write(game_id=game.pk, writes={})
    game.refresh_from_db()
    assert game.definition_version == Game.objects.get(pk=game.pk).definition_version
    assert platform_of(game.pk, NAME) is None


# Secrets


def test_keys__are_read_by_name_and_from_files(tmp_path: Any) -> None:
    secret = tmp_path / "key.json"
    secret.write_text('{"type": "service_account"}\n')
    found = Variables(
        {
            "PLATFORM_KEY_GARDEN_APPLE": "pem",
            "PLATFORM_KEY_GARDEN_GOOGLE_FILE": str(secret),
            "PLATFORM_KEY_EMPTY": " ",
            "OTHER": "x",
        }
    )

    assert found.family("PLATFORM_KEY_", doc="d") == {
        "garden_apple": "pem",
        "garden_google": '{"type": "service_account"}',
    }
    assert found.variables["PLATFORM_KEY_<NAME>"].secret
