"""One search leads to everything, through indexes."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory
from django.urls import reverse

from accounts import backoffice
from accounts.models import Player, StaffUser
from store import lookup, stuck
from store.models import (
    Order,
    OwnerConflict,
    PlatformNotice,
    PlatformPurchase,
    Subscription,
    Transaction,
)
from store.services import ownership
from tests.factories.store import give
from tests.fakes.platform import Shelf
from tests.plans import scans
from tests.store.receipts import other, player, shelf
from tests.store.test_admin import signed_in
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


def find(term: object) -> Any:
    return signed_in(StaffUser.Role.SUPPORT).get(reverse("admin:store_find"), {"q": str(term)})


def test_find__everything_that_may_be_quoted__leads_to_its_page(
    shelf: Shelf, player: Player
) -> None:
    order = shelf.buy(player, "GPA.3344-5566", original_id="GPA.first")
    notice = shelf.notice("n-77")
    row = shelf.purchase("GPA.3344-5566")
    grant = give(player, {"gems": 1})
    token = ownership.account_token(player_id=player.pk)
    pages = {
        row.pk: url_of("platformpurchase_change", row),
        "GPA.3344-5566": url_of("platformpurchase_change", row),
        " GPA.first ": url_of("platformpurchase_change", row),
        order.pk: url_of("order_change", order),
        grant.pk: url_of("transaction_change", grant),
        f"purchase:{row.pk}:grant": url_of("transaction_change", Transaction(pk=row.pk)),
        notice.pk: url_of("platformnotice_change", notice),
        "n-77": url_of("platformnotice_change", notice),
        player.pk: reverse("admin:accounts_player_change", args=[player.pk]),
        str(player): reverse("admin:accounts_player_change", args=[player.pk]),
        token: reverse("admin:accounts_player_change", args=[player.pk]),
    }
    for term, page in pages.items():
        answer = find(term)
        assert (answer.status_code, answer.get("Location")) == (302, page), term


def test_find__several__listed_with_where_they_stand(
    shelf: Shelf, player: Player, other: Player
) -> None:
    for number in range(2):
        shelf.buy(player, f"t{number}", original_id="GPA.both")
    page = text_of(find("GPA.both"))
    for row in PlatformPurchase.objects.all():
        assert url_of("platformpurchase_change", row) in page
    assert "It was granted, and nothing was taken back." in page


@pytest.mark.parametrize("term", ["", "GPA.nobody", uuid4(), "a\0b", "x" * 6_000, "' OR 1=1 --"])
def test_find__nothing__says_so(shelf: Shelf, term: object) -> None:
    page = text_of(find(term))
    assert ("Nothing has this id" in page) is bool(str(term))


def test_lists__search_by_the_platforms_id(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "t1")
    shelf.buy(player, "t2")
    client = signed_in(StaffUser.Role.SUPPORT)
    answer = client.get(url_of("platformpurchase_changelist"), {"q": "t2"})
    assert [row.transaction_id for row in answer.context["cl"].result_list] == ["t2"]


# Indexes

TABLES = "store_platformpurchase, store_order"


@pytest.fixture
def many(shelf: Shelf, player: Player) -> None:
    """20,000 purchases with a receipt each: enough that PostgreSQL prefers indexes by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO store_order (id, game_id, player_id, provider, digest, data, product,
                   purchases, state, code, last_error, attempts, next_attempt_at, created_at,
                   updated_at)
               SELECT gen_random_uuid(), %s, %s, 'scripted', sha256(n::text::bytea), '{}', '',
                   '[]', CASE WHEN n %% 4000 = 0 THEN 'dead' ELSE 'accepted' END, '', '', 1,
                   now(), now(), now()
               FROM generate_series(1, 20000) n""",
            [shelf.game.pk, player.pk],
        )
        cursor.execute(
            """INSERT INTO store_platformpurchase (id, game_id, provider, environment, app_id,
                   transaction_id, line, original_id, is_unbound, product, kind, quantity, state,
                   code, decision, granted, taken, revoked, reversals, told, token, price_currency,
                   price_minor_units, country, attempts, next_attempt_at, last_error, signed_at,
                   purchased_at, revoked_at, created_at)
               SELECT gen_random_uuid(), %s, 'scripted', 'production', %s, 't' || n, '', 'o' || n,
                   false, 'gems', 'consumable', 1,
                   CASE WHEN n %% 4000 = 0 THEN 'quarantined' ELSE 'verified' END, '', '', '{}',
                   '{}', CASE WHEN n %% 50 = 0 THEN 100000 ELSE 0 END, 0,
                   CASE WHEN n %% 4000 = 1 THEN 'failed' ELSE 'none' END, '', 'EUR', 99, 'DE', 1,
                   now(), '', now(), at, CASE WHEN n %% 50 = 0 THEN at + interval '1 day' END, at
               FROM generate_series(1, 20000) n,
                    LATERAL (SELECT timestamptz '2026-01-01' + n * interval '25 min' AS at) x""",
            [shelf.game.pk, shelf.app_id],
        )


def test_indexes__serve_every_search_and_list(many: None, shelf: Shelf) -> None:
    values = {"term": "t500", "limit": 50}
    by_number = scans(lookup.BY_PLATFORMS_ID, values, analyzed=TABLES)
    assert {index for _, table, index in by_number if table} == {
        "store_platformpurchase_once",
        "store_platformpurchase_series",
    }
    assert lookup.platforms_ids("t500") == lookup.platforms_ids("o500")

    lists = {
        "store_order_dead": stuck.dead_orders(),
        "store_platformpurchase_held": stuck.held_back(),
        "store_platformpurchase_untold": stuck.untold(),
    }
    for index, rows in lists.items():
        sql, params = rows.order_by("pk")[:50].query.sql_with_params()
        plan = scans(sql, params, analyzed=TABLES)
        assert {found for _, _, found in plan if found} == {index}
        assert "Seq Scan" not in {kind for kind, _, _ in plan}

    assert stuck.dead_orders().count() == 5
    assert Order.objects.count() == 20_000


COPIES = {
    "store_subscription": """INSERT INTO store_subscription (id, game_id, provider, environment,
            app_id, original_id, line, phase, renews, renewal_product, replaces, signed_at,
            attempts, next_attempt_at, last_error, created_at, updated_at, purchase_id)
        SELECT gen_random_uuid(), game_id, provider, environment, app_id, original_id, '',
            'expired', false, '', '', now(), 0, now(), '', now(), now(), id
        FROM store_platformpurchase""",
    "store_platformnotice": """INSERT INTO store_platformnotice (id, provider, notice_id, kind,
            app_id, data, signed_at, state, attempts, next_attempt_at, last_error, created_at)
        SELECT gen_random_uuid(), provider, transaction_id, 'REFUND', app_id, '{}', now(), 'done',
            1, now(), '', now()
        FROM store_platformpurchase""",
    "store_ownerconflict": """INSERT INTO store_ownerconflict (id, state, decided_by, created_at,
            claimant_id, order_id, purchase_id)
        SELECT gen_random_uuid(), CASE WHEN transaction_id LIKE '%000' THEN 'open' ELSE 'kept' END,
            '', now(), o.player_id, o.id, p.id
        FROM store_platformpurchase p, (SELECT id, player_id FROM store_order LIMIT 1) o""",
}


@pytest.mark.parametrize(
    ("table", "model", "term", "index"),
    [
        ("store_subscription", Subscription, "o500", "store_subscription_once"),
        ("store_platformnotice", PlatformNotice, "t500", "store_notice_once"),
    ],
)
def test_lists__search_by_the_platforms_id__through_an_index(
    many: None, table: str, model: Any, term: str, index: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COPIES[table])
    page = admin.site.get_model_admin(model)
    rows, _ = page.get_search_results(RequestFactory().get("/"), model.objects.all(), term)
    plan = scans(*rows.query.sql_with_params(), analyzed=table)
    assert [scan for scan in plan if scan[1] == table and scan[0] == "Seq Scan"] == []
    assert index in {found for _, _, found in plan}
    of_index = [line for line in rows.explain().splitlines() if "Index Cond" in line]
    assert all("(provider)" in line for line in of_index if term in line), "Not all of the index"
    assert rows.count() == 1


def test_conflicts__of_a_purchase_and_open_ones__through_indexes(many: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COPIES["store_ownerconflict"])
    rows = OwnerConflict.objects.order_by("pk")
    purchase = PlatformPurchase.objects.first()
    wanted = {
        "store_ownerconflict_purchase": OwnerConflict.objects.filter(purchase=purchase),
        "store_ownerconflict_open": rows.filter(state="open")[:50],
    }
    for index, asked in wanted.items():
        plan = scans(*asked.query.sql_with_params(), analyzed="store_ownerconflict")
        assert {found for _, _, found in plan if found} == {index}
        assert "Seq Scan" not in {kind for kind, _, _ in plan}


def test_conflicts__searched_by_a_name__finds_nothing_and_does_not_fail(shelf: Shelf) -> None:
    answer = signed_in(StaffUser.Role.SUPPORT).get(
        url_of("ownerconflict_changelist"), {"q": "Robin"}
    )
    assert answer.status_code == 200


def test_stuck__its_links_lead_to_all_of_them(many: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones too, however many came after."""
    monkeypatch.setattr(backoffice, "LOOK_THROUGH", 1)
    for section in stuck.sections():
        answer = signed_in(StaffUser.Role.ADMIN).get(section.url)
        assert str(answer.context["cl"].result_count) == section.total
