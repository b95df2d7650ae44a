"""Revenue as the platforms said it, and files of it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.urls import reverse

from accounts.models import Game, Player, StaffUser
from store import export_rows, finance, tasks
from store.finance import Period, Row
from store.models import Export, ExportPart, PlatformPurchase
from store.providers.base import WHOLE, Environment, State
from store.services import exports
from tests.factories.accounts import StaffUserFactory
from tests.fakes.platform import EPOCH, Shelf
from tests.plans import scans
from tests.store.receipts import other, player, shelf
from tests.store.test_admin import signed_in
from tests.store.test_lookup import TABLES, many
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["many", "other", "player", "shelf"]
pytestmark = pytest.mark.django_db
ROLES = StaffUser.Role
DAY = timedelta(days=1)
FIRST = EPOCH.date()


def period(shelf: Shelf, days: int = 10, **only: str) -> Period:
    game = Game.objects.get(pk=shelf.game.pk)
    return Period(game, FIRST, FIRST + (days - 1) * DAY, tuple(only.items()))


@pytest.fixture
def sales(shelf: Shelf, player: Player) -> None:
    """Two in euros on the first day, of which one is refunded by half two days later; yen on the
    second; one without a price; one in the sandbox; one that was never paid."""
    euros: dict[str, Any] = {"price_minor_units": 999, "price_currency": "EUR"}
    euros["country"] = "DE"
    shelf.buy(player, "t1", purchased_at=EPOCH, **euros)
    shelf.buy(player, "t2", purchased_at=EPOCH, **euros)
    shelf.hear(
        "t2",
        1,
        purchased_at=EPOCH,
        revoked=WHOLE // 2,
        revoked_at=EPOCH + 2 * DAY,
        **euros,
    )
    yen: dict[str, Any] = {
        "price_minor_units": 120,
        "price_currency": "JPY",
        "country": "JP",
        "product": "koi",
    }
    shelf.buy(player, "t3", purchased_at=EPOCH + DAY, **yen)
    shelf.buy(player, "t4", purchased_at=EPOCH + DAY)
    shelf.buy(player, "t5", purchased_at=EPOCH, environment=Environment.SANDBOX, **euros)
    shelf.hear("t6", purchased_at=EPOCH, state=State.PENDING, **euros)


def test_revenue__by_day__refunds_on_their_own(sales: None, shelf: Shelf) -> None:
    found = finance.revenue(period(shelf, environment="production"), ["day"])
    days = [(FIRST + number * DAY).isoformat() for number in range(3)]
    assert found == [
        Row((days[0],), "EUR", 2, 0, 1998, 0, 0),
        Row((days[1],), "", 1, 1, 0, 0, 0),
        Row((days[1],), "JPY", 1, 0, 120, 0, 0),
        Row((days[2],), "EUR", 0, 0, 0, 1, 499),
    ]
    assert found[3].net == -499


@pytest.mark.parametrize(
    ("by", "labels"),
    [
        ("country", {"DE", "JP", ""}),
        ("product", {"gems", "koi"}),
        ("platform", {"scripted"}),
        ("environment", {"production", "sandbox"}),
    ],
)
def test_revenue__by_anything__the_same_sums(
    sales: None, shelf: Shelf, by: str, labels: set[str]
) -> None:
    found = finance.revenue(period(shelf), [by])
    assert {row.labels[0] for row in found} == labels
    total = finance.revenue(period(shelf), [])
    for currency in ("EUR", "JPY", ""):
        own = [row for row in found if row.currency == currency]
        (whole,) = [row for row in total if row.currency == currency]
        assert (sum(row.sales for row in own), sum(row.net for row in own)) == (
            whole.sales,
            whole.net,
        )


def test_revenue__days_are_the_games(sales: None, shelf: Shelf) -> None:
    Game.objects.update(timezone="America/New_York")
    found = finance.revenue(period(shelf), ["day"])
    assert [row.labels[0] for row in found if row.currency == "JPY"] == [FIRST.isoformat()]
    # The first day's sales were the evening before, there.
    assert sum(row.sales for row in found) == 2


EUROS: dict[str, Any] = {"price_minor_units": 999, "price_currency": "EUR"}


def refunds_of(shelf: Shelf) -> dict[int, tuple[int, int]]:
    """How many there were and of how much, by the number of the day."""
    found = finance.revenue(period(shelf), ["day"])
    return {
        (date.fromisoformat(row.labels[0]) - FIRST).days: (row.refunds, row.refunded)
        for row in found
        if row.refunds
    }


def test_refunds__in_parts__each_on_its_day_and_days_that_were_told_stay(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, purchased_at=EPOCH, **EUROS)

    def refund(at: float, revoked: int, day: int) -> None:
        shelf.hear(at=at, revoked=revoked, revoked_at=EPOCH + day * DAY, **EUROS)

    refund(1, 33_333, 1)
    assert refunds_of(shelf) == {1: (1, 332)}
    refund(2, 66_666, 3)
    assert refunds_of(shelf) == {1: (1, 332), 3: (1, 333)}
    # The same news with another date, and a further part with the date of the one before.
    refund(3, 66_666, 5)
    refund(4 * 86_400, WHOLE, 3)
    # The parts add up, to the cent.
    assert refunds_of(shelf) == {1: (1, 332), 3: (1, 333), 4: (1, 334)}
    # A day alone is what it is among others.
    third = Period(shelf.game, FIRST + 3 * DAY, FIRST + 3 * DAY)
    assert [(row.refunds, row.refunded) for row in finance.revenue(third, [])] == [(1, 333)]

    export = ordered(shelf, "refunds")
    tasks.write_exports()
    export.refresh_from_db()
    lines = [line.split(",") for line in text_of_file(export)[1:]]
    assert [(line[2], line[15], line[16]) for line in lines] == [
        ("2026-01-02", "33.333", "3.32"),
        ("2026-01-04", "33.333", "3.33"),
        ("2026-01-05", "33.334", "3.34"),
    ]
    assert (export.total, export.written) == (3, 3)


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ([(1, 30_000), (2, 60_000), (3, 30_000)], {1: 30}),
        ([(1, 30_000), (2, 60_000), (3, 10_000)], {1: 10}),
        ([(1, 30_000), (2, 60_000), (3, 0)], {}),
        ([(1, WHOLE), (2, 0), (3, WHOLE)], {3: 100}),
        ([(1, 30_000), (2, 10_000), (3, 60_000)], {1: 10, 3: 50}),
    ],
)
def test_refunds__taken_back__gone_from_their_days(
    shelf: Shelf, player: Player, told: list[tuple[int, int]], left: dict[int, int]
) -> None:
    price: dict[str, Any] = {"price_minor_units": 100, "price_currency": "EUR"}
    shelf.buy(player, purchased_at=EPOCH, **price)
    for day, revoked in told:
        at = EPOCH + day * DAY if revoked else None
        shelf.hear(at=day, revoked=revoked, revoked_at=at, **price)

    assert {day: amount for day, (_, amount) in refunds_of(shelf).items()} == left


def test_refunds__of_what_the_log_does_not_have__all_on_the_day_of_the_last(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, purchased_at=EPOCH, **EUROS)
    PlatformPurchase.objects.update(revoked=WHOLE // 2, revoked_at=EPOCH + 2 * DAY)
    assert refunds_of(shelf) == {2: (1, 499)}


def test_revenue__and_exports__use_indexes(many: None, shelf: Shelf) -> None:
    two_days = Period(shelf.game, date(2026, 3, 1), date(2026, 3, 2))
    query, values = finance._revenue_query(two_days, ["day", "country"])
    used = {index for _, _, index in scans(query, values, analyzed=TABLES)}
    assert {"store_platformpurchase_sold", "store_platformpurchase_back"} <= used
    for refunds, index in ((False, "_sold"), (True, "_back")):
        query, values = export_rows.page_query(two_days, [], refunds=refunds)
        plan = scans(query, values, analyzed=TABLES)
        assert f"store_platformpurchase{index}" in {found for _, _, found in plan}
        assert ("Seq Scan", "store_platformpurchase", "") not in plan
        logs = {index for _, table, index in plan if table == "store_purchasestep"}
        assert logs == ({"store_purchasestep_purchase"} if refunds else set())


# The page


def test_page__figures_charts_and_links(
    sales: None, shelf: Shelf, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(ROLES.ANALYST)
    asked = {
        "game": str(shelf.game.pk),
        "first": FIRST.isoformat(),
        "last": (FIRST + 5 * DAY).isoformat(),
        "by": "country",
    }
    with django_assert_max_num_queries(16):
        page = text_of(client.get(reverse("admin:store_revenue"), asked))
    for text in ("14.99 EUR", "120 JPY", "-4.99", "unknown", "EUR by day", "not told"):
        assert text in page
    sandbox = client.get(reverse("admin:store_revenue"), asked | {"environment": "sandbox"})
    assert "120 JPY" not in text_of(sandbox)
    assert "9.99 EUR" in text_of(sandbox)


@pytest.mark.parametrize(
    "asked", [{}, {"game": "x"}, {"first": "2020-01-01"}, {"first": "x"}, {"country": "ZZ"}]
)
def test_page__nothing_or_nonsense__still_a_page(shelf: Shelf, asked: dict[str, str]) -> None:
    page = signed_in(ROLES.ANALYST).get(reverse("admin:store_revenue"), asked)
    assert page.status_code == 200


def test_page__took_too_long__says_so(
    sales: None, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finance, "REVENUE", "SELECT pg_sleep(1), %(game)s::uuid")
    monkeypatch.setattr(finance, "TIMEOUT_MS", 5)
    page = signed_in(ROLES.ANALYST).get(reverse("admin:store_revenue"))
    assert "That took too long" in text_of(page)


@pytest.mark.parametrize("role", [ROLES.SUPPORT, ROLES.DESIGNER])
def test_money__other_roles__forbidden(shelf: Shelf, role: StaffUser.Role) -> None:
    export = ordered(shelf)
    client = signed_in(role)
    for url in (
        reverse("admin:store_revenue"),
        url_of("export_changelist"),
        url_of("export_change", export),
        url_of("export_download", export),
    ):
        assert client.get(url).status_code == 403
    assert client.post(reverse("admin:store_revenue"), {"kind": "purchases"}).status_code == 403


# Files


def ordered(shelf: Shelf, kind: str = "purchases", days: int = 10) -> Export:
    return exports.order(kind=kind, period=period(shelf, days), author=StaffUserFactory())


def text_of_file(export: Export) -> list[str]:
    return b"".join(exports.file(export=export)).decode().splitlines()


def test_export__ordered_written_and_downloaded(sales: None, shelf: Shelf) -> None:
    client = signed_in(ROLES.ANALYST)
    asked = f"?game={shelf.game.pk}&first={FIRST}&last={FIRST + 5 * DAY}"
    answer = client.post(reverse("admin:store_revenue") + asked, {"kind": "purchases"})
    export = Export.objects.get()
    assert answer["Location"] == url_of("export_change", export)
    waiting = client.get(url_of("export_change", export))
    assert (waiting["Refresh"], "A worker writes it" in text_of(waiting)) == ("2", True)
    assert client.get(url_of("export_download", export)).status_code == 302

    assert tasks.write_exports() == 1

    export.refresh_from_db()
    assert (export.state, export.total, export.written) == ("done", 4, 4)
    done = client.get(url_of("export_change", export))
    assert "Refresh" not in done
    assert url_of("export_download", export) in text_of(done)
    download: Any = client.get(url_of("export_download", export))
    text = b"".join(download.streaming_content).decode()
    assert download["Content-Disposition"].endswith('.csv"')
    assert text.splitlines()[0].startswith("purchase_id,purchased_at,day,platform")
    assert ",EUR,9.99,partially_revoked,,50," in text
    assert LogEntry.objects.filter(changes__has_key="downloaded").count() == 1
    assert LogEntry.objects.filter(changes__has_key="ordered").count() == 1
    assert "100 %" in text_of(client.get(url_of("export_changelist")))


def test_export__refunds_and_revenue(sales: None, shelf: Shelf) -> None:
    refunds, revenue = ordered(shelf, "refunds"), ordered(shelf, "revenue")
    assert tasks.write_exports() == 2
    assert [line.split(",")[5] for line in text_of_file(refunds)[1:]] == ["t2"]
    assert text_of_file(revenue)[1:] == [
        "2026-01-01,DE,gems,scripted,production,EUR,2,0,19.98,0,0.00,19.98",
        "2026-01-01,DE,gems,scripted,sandbox,EUR,1,0,9.99,0,0.00,9.99",
        "2026-01-02,,gems,scripted,production,,1,1,0.00,0,0.00,0.00",
        "2026-01-02,JP,koi,scripted,production,JPY,1,0,120,0,0,120",
        "2026-01-03,DE,gems,scripted,production,EUR,0,0,0.00,1,4.99,-4.99",
    ]


def test_export__worker_killed__the_next_goes_on_from_the_cursor(
    many: None, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "CHUNK", 700)
    export = ordered(shelf, days=60)
    assert exports.write_part(export.pk) is True
    Export.objects.update(next_attempt_at=EPOCH)
    read, calls = export_rows._read, []

    def killed(*args: Any, **named: Any) -> Any:
        piece = read(*args, **named)
        calls.append(piece)
        if len(calls) == 2:
            raise SystemExit
        return piece

    # Killed after it read, before it committed: nothing of that part may be left.
    monkeypatch.setattr(export_rows, "_read", killed)
    with pytest.raises(SystemExit):
        exports.write()
    monkeypatch.setattr(export_rows, "_read", read)
    assert exports.write() is False  # leased to the one that was killed
    Export.objects.update(next_attempt_at=EPOCH)
    while exports.write():
        pass

    export.refresh_from_db()
    keys = [line.split(",")[0] for line in text_of_file(export)[1:]]
    assert export.state == "done"
    assert len(keys) == len(set(keys)) == export.written == export.total
    assert len(keys) > 3_000
    assert ExportPart.objects.count() == -(-export.written // 700)


def test_export__broken__given_up_and_tried_again(
    sales: None, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ordered(shelf)
    with monkeypatch.context() as broken:
        broken.setattr(export_rows, "COUNT", "SELECT 1/0 WHERE %(game)s::uuid IS NOT NULL")
        for _ in range(exports.GIVE_UP):
            Export.objects.update(next_attempt_at=EPOCH)
            assert exports.write() is True
    export.refresh_from_db()
    assert (export.state, export.last_error) == ("failed", "DataError")
    client = signed_in(ROLES.ANALYST)
    assert "It failed: DataError" in text_of(client.get(url_of("export_change", export)))
    assert client.get(url_of("export_again", export)).status_code == 200

    client.post(url_of("export_again", export))
    assert tasks.write_exports() == 1

    export.refresh_from_db()
    assert (export.state, export.last_error) == ("done", "")


def test_export__time_is_over__goes_on_next_time(
    many: None, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "SECONDS", 0.0)
    monkeypatch.setattr(export_rows, "CHUNK", 200)
    export = ordered(shelf, days=5)
    assert exports.write() is True
    export.refresh_from_db()
    assert (export.state, export.written) == ("due", 200)
    assert exports.write() is True
    export.refresh_from_db()
    assert (export.state, export.written) == ("done", export.total)


def test_exports__too_old__deleted_with_their_parts(sales: None, shelf: Shelf) -> None:
    old, new = ordered(shelf), ordered(shelf)
    tasks.write_exports()
    Export.objects.filter(pk=old.pk).update(expires_at=EPOCH)
    assert exports.expire() == 1
    assert list(Export.objects.values_list("pk", flat=True)) == [new.pk]
    assert set(ExportPart.objects.values_list("export_id", flat=True)) == {new.pk}


@pytest.mark.parametrize(
    "bad", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "|x"]
)
def test_cell__would_be_a_formula__led_by_an_apostrophe(bad: str) -> None:
    assert export_rows.cell(bad) == f"'{bad}"


def test_cell__values_stay(sales: None) -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert [export_rows.cell(one) for one in (-5, Decimal("-4.99"), None, "a=1", "", at)] == [
        -5,
        Decimal("-4.99"),
        "",
        "a=1",
        "",
        "2026-01-01T12:00:00+00:00",
    ]


def test_export__hostile_product__harmless(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "=HYPERLINK(1)", product='=cmd|"calc"!A1', purchased_at=EPOCH)
    export = ordered(shelf)
    tasks.write_exports()
    line = text_of_file(export)[1]
    assert ",'=HYPERLINK(1)," in line
    assert ',"\'=cmd|""calc""!A1",' in line
