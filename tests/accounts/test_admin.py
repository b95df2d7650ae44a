"""The back office: who sees what, and changes through services."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from auditlog.models import LogEntry
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import backoffice
from accounts.backoffice import (
    COUNT_TO,
    BigTableAdmin,
    EstimatedPaginator,
    Panel,
    PlayerSearchMixin,
    estimated_rows,
    register_player_panel,
    shown,
)
from accounts.models import ApiKey, Game, Player, Sanction, Session, StaffUser
from accounts.services import keys
from tests.factories.accounts import (
    ApiKeyFactory,
    IdentityFactory,
    PlayerFactory,
    SanctionFactory,
    SessionFactory,
    StaffUserFactory,
)

pytestmark = pytest.mark.django_db
ROLES = ("support", "designer", "analyst", "admin")


def client_of(role: str) -> Client:
    client = Client()
    client.force_login(
        StaffUserFactory.create(role=role), "django.contrib.auth.backends.ModelBackend"
    )
    return client


@pytest.fixture
def boss() -> Client:
    return client_of("admin")


def change_url(row: Any) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def list_url(model: str) -> str:
    return reverse(f"admin:{model}_changelist")


def act(client: Client, row: Any, action: str, **fields: str) -> Any:
    return client.post(change_url(row).replace("change/", f"{action}/"), fields)


@pytest.mark.parametrize("role", ROLES)
def test_index__opens_for_everyone(role: str) -> None:
    page = client_of(role).get("/admin/")
    assert page.status_code == 200
    assert (b"/admin/accounts/staffuser/" in page.content) is (role == "admin")


@pytest.mark.parametrize(
    ("model", "seen_by"),
    [
        ("accounts_game", ROLES),
        ("accounts_player", ROLES),
        ("accounts_sanction", ROLES),
        ("accounts_identity", ("support", "admin")),
        ("accounts_session", ("support", "admin")),
        ("accounts_friendrequest", ("support", "admin")),
        ("accounts_block", ("support", "admin")),
        ("accounts_apikey", ("admin",)),
        ("accounts_staffuser", ("admin",)),
        ("auditlog_logentry", ("admin",)),
    ],
)
def test_lists__by_role(model: str, seen_by: tuple[str, ...]) -> None:
    player = IdentityFactory.create().player
    SessionFactory.create(player=player)
    SanctionFactory.create(player=player)
    ApiKeyFactory.create(game=player.game)
    for role in ROLES:
        expected = 200 if role in seen_by else 403
        assert client_of(role).get(list_url(model)).status_code == expected, role


@pytest.mark.parametrize("many", [1, 20])
def test_list_of_players__does_not_count_and_costs_the_same(boss: Client, many: int) -> None:
    boss.get(list_url("accounts_player"))
    PlayerFactory.create_batch(many)
    with CaptureQueriesContext(connection) as queries:
        assert boss.get(list_url("accounts_player")).status_code == 200
    statements = [query["sql"] for query in queries if "accounts_player" in query["sql"]]
    assert len(statements) == 2
    counting = [sql for sql in statements if "COUNT(*)" in sql]
    assert all(f"LIMIT {COUNT_TO + 1}" in sql for sql in counting), counting


BIG_TABLES = [each for each in admin.site._registry.values() if isinstance(each, BigTableAdmin)]


@pytest.mark.parametrize("page", BIG_TABLES, ids=lambda page: page.model._meta.label_lower)
def test_big_table__its_filters_do_not_read_all_rows(page: BigTableAdmin, boss: Client) -> None:
    meta = page.model._meta
    with CaptureQueriesContext(connection) as queries:
        answer = boss.get(list_url(f"{meta.app_label}_{meta.model_name}"), {"_facets": "True"})
    assert answer.status_code == 200
    statements = [query["sql"] for query in queries]
    assert [sql for sql in statements if "DISTINCT" in sql or " FILTER " in sql] == []


def test_filter__no_index_serves_it__the_newest_rows_are_looked_through(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_tester in (True, False, False):
        PlayerFactory.create(is_tester=is_tester)
    url = list_url("accounts_player")
    for rows, found in ((3, 1), (2, 0)):
        monkeypatch.setattr(backoffice, "LOOK_THROUGH", rows)
        answer = boss.get(url, {"is_tester__exact": "1"})
        assert answer.context["cl"].result_count == found
        assert b"Only the newest" in answer.content
    monkeypatch.setattr(backoffice, "LOOK_THROUGH", 4)
    assert b"Only the newest" not in boss.get(url, {"is_tester__exact": "1"}).content
    assert boss.get(url).context["cl"].result_count == 3


def test_search__by_id_name_tag_and_address(boss: Client) -> None:
    player = PlayerFactory.create(display_name="Quiet Otter", tag=42)
    other = PlayerFactory.create(display_name="Loud Heron")
    IdentityFactory.create(player=player, method="email", subject="r@example.com")
    SessionFactory.create(player=player, device="Robin's phone")
    for term in (str(player.pk), "quiet", "Quiet Otter#0042", "R@example.com"):
        page = boss.get(list_url("accounts_player"), {"q": term})
        assert [row.pk for row in page.context["cl"].result_list] == [player.pk], term
        sessions = boss.get(list_url("accounts_session"), {"q": term})
        assert len(sessions.context["cl"].result_list) == 1, term
    assert boss.get(list_url("accounts_session"), {"q": other.pk}).context["cl"].result_count == 0
    assert boss.get(list_url("accounts_player"), {"q": "a\0b"}).status_code == 200
    session = Session.objects.get()
    found = boss.get(list_url("accounts_session"), {"q": str(session.pk)})
    assert found.context["cl"].result_count == 1


def test_list_of_sessions__shows_their_state(boss: Client) -> None:
    for changes in (
        {},
        {"revoked_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ):
        session = SessionFactory.create(**changes)
        assert boss.get(change_url(session)).status_code == 200
    text = boss.get(list_url("accounts_session")).content.decode()
    for state in ("live", "revoked", "expired"):
        assert state in text


def test_search__further_fields__match_exactly() -> None:
    class Admin(PlayerSearchMixin):
        model = Sanction
        also_search = ("author",)

    sanction = SanctionFactory.create(author="robin")
    found, _ = Admin().get_search_results(None, Sanction.objects.all(), "robin")  # type: ignore[arg-type]  # not looked at
    assert list(found) == [sanction]
    found, _ = Admin().get_search_results(None, Sanction.objects.all(), "rob")  # type: ignore[arg-type]  # not looked at
    assert list(found) == []
    found, _ = Admin().get_search_results(None, Sanction.objects.all(), " ")  # type: ignore[arg-type]  # not looked at
    assert list(found) == [sanction]


# --- the player's page -----------------------------------------------------------------------


def test_player_page__shows_everything_in_one_place(boss: Client) -> None:
    player = PlayerFactory.create()
    IdentityFactory.create(player=player, subject="device-xyz")
    SessionFactory.create(player=player, device="Robin's phone")
    SanctionFactory.create(player=player, reason="Spam")
    page = boss.get(change_url(player))
    assert page.status_code == 200
    text = page.content.decode()
    for word in ("device-xyz", "Robin&#x27;s phone", "Spam", "Sign out everywhere", str(player)):
        assert word in text, word
    assert boss.post(change_url(player), {"display_name": "x"}).status_code == 403


def test_player_page__of_nobody(boss: Client) -> None:
    player = PlayerFactory.build()
    assert boss.get(change_url(player)).status_code in (302, 404)
    for action in ("sanction", "lift", "sign-out", "tester", "rename"):
        assert act(boss, player, action).status_code == 404


def test_player_page__a_panel_that_fails__does_not_take_it_down(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoffice._panels, "known", {})

    def broken(player: Player) -> Panel:
        raise LookupError

    register_player_panel("Broken", broken, order=1)
    register_player_panel(
        "Whole", lambda player: Panel(("A",), [("fine thing",)], "/more", "A note"), order=2
    )
    register_player_panel(
        "Third panel", lambda player: Panel((), ()), "admin/accounts/player/panel.html", 3
    )
    text = boss.get(change_url(PlayerFactory.create())).content.decode()
    assert "could not be read" in text
    assert text.index("Broken") < text.index("fine thing") < text.index("Third panel")
    assert "/more" in text
    assert "A note" in text


@pytest.mark.parametrize("action", ["sanction", "lift", "sign-out", "tester", "rename"])
def test_actions__ask_first_and_are_for_helpers(action: str) -> None:
    player = PlayerFactory.create()
    url = change_url(player).replace("change/", f"{action}/")
    assert client_of("support").get(url).status_code == 200
    before = Player.objects.values().get()
    for role in ("designer", "analyst"):
        for method in (client_of(role).get, client_of(role).post):
            assert method(url).status_code == 403
    assert Player.objects.values().get() == before
    assert not Sanction.objects.exists()


def test_sanction__and_lift(boss: Client) -> None:
    player = PlayerFactory.create()
    session = SessionFactory.create(player=player)
    answer = act(boss, player, "sanction", kind="ban", reason="Spam")
    assert answer["Location"] == change_url(player)
    sanction = Sanction.objects.get()
    assert sanction.author == StaffUser.objects.get().username
    session.refresh_from_db()
    assert session.revoked_for == "banned"
    assert "blocked" in boss.get(change_url(player)).content.decode()
    assert LogEntry.objects.get_for_object(sanction).count() == 1

    assert act(boss, player, "lift").status_code == 302
    player.refresh_from_db()
    assert player.blocked_until is None
    assert LogEntry.objects.get_for_object(sanction).count() == 2


def test_sanction__refused__says_why(boss: Client) -> None:
    player = PlayerFactory.create()
    answer = act(boss, player, "sanction", kind="suspension", reason="Spam")
    assert answer.status_code == 200
    assert "A suspension has an end" in answer.content.decode()
    missing = act(boss, player, "sanction", kind="ban")
    assert missing.status_code == 200
    assert not Sanction.objects.exists()


def test_lift__one_sanction(boss: Client) -> None:
    sanction = SanctionFactory.create()
    assert act(boss, sanction, "lift").status_code == 302
    sanction.refresh_from_db()
    assert sanction.lifted_at is not None
    assert act(boss, SanctionFactory.build(player=sanction.player), "lift").status_code == 404
    assert act(client_of("analyst"), sanction, "lift").status_code == 403


def test_sign_out_tester_rename__are_audited(boss: Client) -> None:
    player = PlayerFactory.create(display_name="Rude Word", tag=5)
    SessionFactory.create_batch(2, player=player)
    assert act(boss, player, "sign-out").status_code == 302
    assert not Session.objects.filter(revoked_at__isnull=True).exists()
    assert act(boss, player, "tester").status_code == 302
    assert act(boss, player, "rename", display_name="Calm Otter").status_code == 302
    player.refresh_from_db()
    assert (str(player), player.is_tester) == ("Calm Otter#0005", True)
    assert "tester" in boss.get(change_url(player)).content.decode()
    logged = [entry.changes for entry in LogEntry.objects.get_for_object(player)]
    assert {"sessions": ["2 live", "none"]} in logged
    assert {"is_tester": ["False", "True"]} in logged
    assert {"display_name": ["Rude Word#0005", "Calm Otter#0005"]} in logged
    actors = {entry.actor for entry in LogEntry.objects.get_for_object(player)}
    assert actors == {StaffUser.objects.get()}


# --- games and keys --------------------------------------------------------------------------


def test_game__is_edited_and_its_version_raised(boss: Client, game: Game) -> None:
    body = {"name": "Pond", "timezone": "Europe/Vienna", "is_active": "on", "slug": "hacked"}
    assert boss.post(change_url(game), body).status_code == 302
    slug, version = game.slug, game.definition_version
    game.refresh_from_db()
    assert (game.name, game.slug) == ("Pond", slug)
    assert game.definition_version > version
    assert client_of("designer").post(change_url(game), body).status_code == 403


def test_game__is_made(boss: Client) -> None:
    body = {"name": "Pond", "slug": "pond", "timezone": "UTC", "is_active": "on"}
    assert boss.post(reverse("admin:accounts_game_add"), body).status_code == 302
    assert Game.objects.get().name == "Pond"


def make_key(client: Client, game: Game, **fields: Any) -> Any:
    body = {"game": str(game.pk), "kind": "secret", "name": "ci", "scopes": ["players:read"]}
    return client.post(reverse("admin:accounts_apikey_add"), body | fields, follow=True)


def test_key__is_made_and_shown_once(boss: Client, game: Game) -> None:
    page = make_key(boss, game)
    key = ApiKey.objects.get()
    (message,) = [str(m) for m in page.context["messages"] if "Copy the key" in str(m)]
    assert keys.hash_key(message.rpartition(" ")[2]) == bytes(key.hash)
    assert key.scopes == ["players:read"]
    assert "Copy the key now" not in boss.get(change_url(key)).content.decode()
    assert LogEntry.objects.get_for_object(key).count() == 1


def test_key__publishable__is_made(boss: Client, game: Game) -> None:
    make_key(boss, game, kind="publishable", scopes=[])
    key = ApiKey.objects.get()
    assert key.shown.startswith("pk_")
    assert key.shown in boss.get(change_url(key)).content.decode()


def test_key__mistakes_are_shown(boss: Client, game: Game) -> None:
    assert "without a scope" in make_key(boss, game, scopes=[]).content.decode()
    ApiKeyFactory.create_batch(2, game=game)
    assert "two active secret keys" in make_key(boss, game).content.decode()
    assert make_key(boss, game, kind="").status_code == 200
    assert ApiKey.objects.count() == 2


def test_key__is_revoked_and_never_changed(boss: Client, game: Game) -> None:
    key = ApiKeyFactory.create(game=game)
    assert "active" in boss.get(list_url("accounts_apikey")).content.decode()
    assert act(boss, key, "revoke").status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert LogEntry.objects.get_for_object(key).exists()
    assert "revoked" in boss.get(list_url("accounts_apikey")).content.decode()
    ApiKey.objects.update(revoked_at=None, expires_at=timezone.now())
    assert "expired" in boss.get(list_url("accounts_apikey")).content.decode()
    assert boss.post(change_url(key), {"name": "x"}).status_code == 403
    assert act(boss, ApiKeyFactory.build(game=game), "revoke").status_code == 404
    for role in ("support", "designer", "analyst"):
        assert act(client_of(role), key, "revoke").status_code == 403
        assert make_key(client_of(role), game).status_code == 403


# --- staff -----------------------------------------------------------------------------------


def test_staff__are_made_by_admins(boss: Client) -> None:
    body = {
        "username": "mo",
        "email": "mo@example.com",
        "role": "analyst",
        "password1": "a quiet lake at dawn",
        "password2": "a quiet lake at dawn",
    }
    url = reverse("admin:accounts_staffuser_add")
    assert client_of("support").post(url, body).status_code == 403
    assert boss.post(url, body).status_code == 302
    user = StaffUser.objects.get(username="mo")
    assert (user.role, user.is_staff, user.is_superuser) == ("analyst", True, False)
    page = boss.get(change_url(user)).content.decode()
    assert "Superuser" not in page
    assert boss.get(list_url("accounts_staffuser")).status_code == 200
    logged = str([entry.changes for entry in LogEntry.objects.get_for_object(user)])
    assert "argon2" not in logged
    assert "md5" not in logged


def test_staff__second_factor_is_reset(boss: Client) -> None:
    user = StaffUserFactory.create(role="support")
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    assert act(client_of("support"), user, "reset-2fa").status_code == 403
    assert act(boss, user, "reset-2fa").status_code == 302
    assert not Authenticator.objects.exists()
    assert (
        LogEntry.objects.get_for_object(user).filter(changes__second_factor__isnull=False).exists()
    )
    assert act(boss, StaffUserFactory.build(pk=10**6), "reset-2fa").status_code == 404


def test_audit_log__opens_and_can_not_be_changed(boss: Client, game: Game) -> None:
    boss.post(change_url(game), {"name": "Pond", "timezone": "UTC", "is_active": "on"})
    entry = LogEntry.objects.get_for_object(game).latest("timestamp")
    assert boss.get(change_url(entry)).status_code == 200
    assert boss.post(change_url(entry), {}).status_code == 403
    delete = change_url(entry).replace("change/", "delete/")
    assert boss.post(delete, {"post": "yes"}).status_code == 403


def test_nothing_of_django_that_nobody_uses_is_shown() -> None:
    shown_models = {model._meta.label for model in admin.site._registry}
    assert not shown_models & {"auth.Group", "account.EmailAddress", "mfa.Authenticator"}


# --- what admins are made of -----------------------------------------------------------------


def test_paginator__counts_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    PlayerFactory.create_batch(5)
    monkeypatch.setattr(backoffice, "COUNT_TO", 3)
    monkeypatch.setattr(backoffice, "estimated_rows", lambda table: 1_000_000)
    rows = Player.objects.order_by("pk")
    assert EstimatedPaginator(rows, 2).count == 1_000_000
    assert EstimatedPaginator(rows.filter(tag__gte=0), 2).count == 3
    assert EstimatedPaginator(rows.filter(tag__lt=0), 2).count == 0
    assert EstimatedPaginator([1, 2, 3, 4], 2).count == 4


def test_estimated_rows__of_a_table() -> None:
    assert estimated_rows("accounts_player") >= 0
    assert estimated_rows("analytics_event") >= 0


def test_shown() -> None:
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert [shown(value) for value in (None, "", moment, True, 12345, "x")] == [
        "–",
        "–",
        "2026-01-02 03:04",
        "yes",
        "12,345",
        "x",
    ]
