"""Promotion campaigns in the back office: made, generated, exported, searched, made worthless."""

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import StaffUser
from store import tasks
from store.models import Campaign, Code, CodeBatch, Redemption
from store.services import campaigns, redemptions
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CampaignFactory, codes_of
from tests.store.conftest import Shop
from tests.store.test_admin import signed_in

pytestmark = pytest.mark.django_db

CAMPAIGN = {
    "title": "Spring",
    "contents": '{"currencies": {"gems": 10}}',
    "words": "SPRING2026\nlotus",
    "max_redemptions": "",
    "limit_per_player": "1",
    "countries": "de, jp",
    "new_player_days": "",
    "starts_at_0": "",
    "starts_at_1": "",
    "ends_at_0": "",
    "ends_at_1": "",
    "is_active": "on",
}


@pytest.fixture
def campaign(shop: Shop) -> Campaign:
    return CampaignFactory(game=shop.game, key="spring", contents={"currencies": {"gems": 1}})


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def url_of(name: str, row: Any = None) -> str:
    return reverse(f"admin:store_{name}", args=[] if row is None else [row.pk])


def redeem(campaign: Campaign, code: str) -> None:
    player = PlayerFactory(game=campaign.game)
    redemptions.redeem(
        game_id=campaign.game_id, player_id=player.pk, typed=code, address="192.0.2.1"
    )


def test_campaign__made_by_a_designer__with_its_words(shop: Shop) -> None:
    client = signed_in(StaffUser.Role.DESIGNER)
    form = CAMPAIGN | {"game": str(shop.game.pk), "key": "spring"}
    answer = client.post(url_of("campaign_add"), form)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = Campaign.objects.get()
    assert (row.contents, row.countries) == ({"currencies": {"gems": 10}}, ["DE", "JP"])
    assert campaigns.words_of(campaign=row) == ["SPRING2026", "lotus"]
    assert LogEntry.objects.get_for_object(row).exists()

    page = client.get(url_of("campaign_change", row))
    assert page.context["adminform"].form["words"].value() == "SPRING2026\nlotus"
    answer = client.post(url_of("campaign_change", row), CAMPAIGN | {"words": "lotus"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert campaigns.words_of(campaign=row) == ["lotus"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contents": '{"items": {"cat": 1}}'}, "The game has no item cat"),
        ({"contents": '{"items": {"koi": 0}}'}, "&gt;= 1"),
        ({"contents": '{"items": {}}'}, "nothing in this campaign"),
        ({"words": "abc"}, "length &gt;= 4"),
        ({"words": "AAAA-AAAA-AAAA-AAAA"}, "4 to 15 letters and digits"),
        ({"words": "taken"}, "Another campaign has the word taken"),
        ({"countries": "Germany"}, "matching regex"),
        ({"limit_per_player": "0"}, "&gt;= 1"),
        ({"max_redemptions": "0"}, "&gt;= 1"),
        ({"key": "Not a key"}, "key"),
    ],
)
def test_campaign__with_a_mistake__says_which(
    shop: Shop, campaign: Campaign, change: dict[str, str], message: str
) -> None:
    campaigns.set_words(campaign=campaign, words=["TAKEN"])
    form = CAMPAIGN | {"game": str(shop.game.pk), "key": "other"} | change
    answer = signed_in().post(url_of("campaign_add"), form)
    assert answer.status_code == 200
    assert message in text_of(answer)
    assert Campaign.objects.count() == 1


def test_generate__by_a_designer__made_by_the_job_and_exported_by_an_admin(
    campaign: Campaign,
) -> None:
    designer = signed_in(StaffUser.Role.DESIGNER)
    asked = designer.post(url_of("campaign_generate", campaign), {"count": "3", "note": "fair"})
    assert asked.status_code == 302
    batch = CodeBatch.objects.get()
    assert (batch.count, batch.note, batch.state) == (3, "fair", "due")
    assert "fair" in text_of(designer.get(url_of("campaign_change", campaign)))
    while campaigns.make_chunk(batch.pk):
        pass

    url = url_of("codebatch_export", batch)
    for role in (StaffUser.Role.DESIGNER, StaffUser.Role.SUPPORT, StaffUser.Role.ANALYST):
        assert signed_in(role).get(url).status_code == 403
    answer: Any = signed_in().get(url)
    lines = b"".join(answer.streaming_content).decode().split()
    assert lines[0] == "code,state"
    assert len(lines) == 4
    assert answer["Content-Disposition"].startswith('attachment; filename="spring-')
    entry = LogEntry.objects.get(changes__has_key="exported")
    assert entry.changes["exported"] == ["", "3 codes"]
    redeem(campaign, lines[1].partition(",")[0])
    answer = signed_in().get(url)
    lines = b"".join(answer.streaming_content).decode().split()
    assert [line.partition(",")[2] for line in lines[1:]] == ["used", "open", "open"]


@pytest.mark.django_db(transaction=True)
def test_make_codes__the_sweepers_task__makes_what_is_due(campaign: Campaign) -> None:
    signed_in().post(url_of("campaign_generate", campaign), {"count": "3"})
    tasks.make_codes()
    assert Code.objects.count() == 3
    assert tasks.make_codes() == 0


@pytest.mark.parametrize("role", [StaffUser.Role.SUPPORT, StaffUser.Role.ANALYST])
def test_generate__by_others_or_too_many__refused(
    campaign: Campaign, role: StaffUser.Role, settings: Any
) -> None:
    settings.STORE_MAX_CODES = 10
    url = url_of("campaign_generate", campaign)
    assert signed_in(role).post(url, {"count": "3"}).status_code == 403
    answer = signed_in().post(url, {"count": "11"})
    assert "1 to 10 codes" in text_of(answer)
    assert not CodeBatch.objects.exists()


def test_codes__found_by_what_the_player_typed_and_made_worthless(campaign: Campaign) -> None:
    one, two = codes_of(campaign, 2)
    client = signed_in(StaffUser.Role.DESIGNER)
    answer = client.get(url_of("code_changelist"), {"q": one.lower()})
    (found,) = answer.context["cl"].result_list
    assert one not in text_of(answer).replace(f'value="{one.lower()}"', "")
    assert str(found) == f"…{one[-4:]}"
    assert not client.get(url_of("code_changelist"), {"q": "NOSUCH"}).context["cl"].result_list

    assert client.post(url_of("code_void", found)).status_code == 302
    found.refresh_from_db()
    assert found.state == "void"
    client.post(url_of("code_void", found))
    assert LogEntry.objects.filter(changes__has_key="state").count() == 1

    batch = CodeBatch.objects.get()
    assert client.post(url_of("codebatch_void", batch)).status_code == 302
    assert set(Code.objects.values_list("state", flat=True)) == {"void"}
    assert client.get(url_of("code_change", found)).status_code == 200
    with pytest.raises(Exception, match="not valid"):
        redeem(campaign, two)


LISTS = ["campaign", "codebatch", "code", "redemption", "grantthreshold", "grantrequest"]


@pytest.mark.parametrize("model", LISTS)
@pytest.mark.parametrize("role", list(StaffUser.Role))
def test_lists__every_role__may_look(campaign: Campaign, model: str, role: StaffUser.Role) -> None:
    redeem(campaign, codes_of(campaign, 1)[0])
    assert signed_in(role).get(url_of(f"{model}_changelist")).status_code == 200


def test_redemptions__on_the_pages_of_player_campaign_and_code(campaign: Campaign) -> None:
    (code,) = codes_of(campaign, 1)
    redeem(campaign, code)
    row = Redemption.objects.get()
    client = signed_in(StaffUser.Role.SUPPORT)
    for url in (
        reverse("admin:accounts_player_change", args=[row.player_id]),
        url_of("campaign_change", campaign),
        url_of("redemption_change", row),
        f"{url_of('redemption_changelist')}?code__id__exact={row.code_id}",
        f"{url_of('redemption_changelist')}?q={row.player_id}",
    ):
        assert f"…{code[-4:]}" in text_of(client.get(url)), url


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("model", LISTS[:4])
def test_lists__queries_do_not_grow(
    shop: Shop, model: str, count: int, django_assert_max_num_queries: Any, settings: Any
) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (1_000, 60))
    for _ in range(count):
        row = CampaignFactory(game=shop.game, contents={"currencies": {"gems": 1}})
        redeem(row, codes_of(row, 1)[0])
    client: Client = signed_in()
    with django_assert_max_num_queries(13):
        client.get(url_of(f"{model}_changelist"))
