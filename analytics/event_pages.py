"""Looking through events in the back office: a page, and a panel on the player's page."""

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db import OperationalError, connection, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.generic import TemplateView
from psycopg.errors import QueryCanceled
from unfold.views import UnfoldModelAdminViewMixin
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import Panel
from accounts.models import Game, Player
from accounts.selectors import find_players
from analytics import selectors
from analytics.models import Event
from analytics.selectors import EventFilter
from config.api.pagination import decode_cursor, encode_cursor
from config.api.problems import InvalidCursor

PAGE = 50
# A name that hardly occurs has to be looked for in all rows of the days asked for.
TIMEOUT_MS = 5_000


class EventsForm(forms.Form):
    """What to look for. Times are in UTC."""

    game = forms.ModelChoiceField(
        Game.objects.order_by("name"), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    player = forms.CharField(
        required=False,
        max_length=254,
        label="Player",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "id, name#1234 or e-mail"}),
    )
    name = forms.CharField(
        required=False, max_length=64, label="Event", widget=UnfoldAdminTextInputWidget
    )
    first = forms.DateField(label="From", widget=UnfoldAdminDateWidget)
    last = forms.DateField(label="To", widget=UnfoldAdminDateWidget)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        first, last = data.get("first"), data.get("last")
        if first and last and not timedelta() <= last - first <= timedelta(days=31):
            raise forms.ValidationError("Look at 31 days or fewer at a time, oldest day first")
        return data

    def wanted(self) -> EventFilter | None:
        """The filter; None when no such player exists. Only after `is_valid()`."""
        data = self.cleaned_data
        players: list[UUID] | None = None
        if data["player"]:
            players = find_players(data["player"].strip())
            if not players:
                return None
        return EventFilter(
            game_id=data["game"].pk,
            first=datetime.combine(data["first"], time(), UTC),
            last=datetime.combine(data["last"], time(), UTC) + timedelta(days=1),
            players=players,
            name=data["name"],
        )


class EventsView(UnfoldModelAdminViewMixin, TemplateView):  # type: ignore[misc]  # unfold has no types
    """Events by player, name and day, newest first."""

    title = "Events"
    permission_required = ()
    template_name = "admin/analytics/events.html"

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        today = timezone.now().astimezone(UTC).date()
        given = {
            "game": Game.objects.order_by("name").values_list("pk", flat=True).first(),
            "first": (today - timedelta(days=6)).isoformat(),
            "last": today.isoformat(),
        } | {name: value for name, value in self.request.GET.items() if value}
        form = EventsForm(given)
        context |= {"form": form, "empty": "No such events.", "table": {"rows": []}}
        if form.is_valid():
            self._search(form, context)
        return context

    def _search(self, form: EventsForm, context: dict[str, Any]) -> None:
        wanted = form.wanted()
        if wanted is None:
            context["empty"] = "No such player."
            return
        try:
            found = self._found(wanted)
        except InvalidCursor:
            context["empty"] = "This page does not exist any more; search again."
            return
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            context["empty"] = "That took too long: ask for fewer days, or for one player."
            return
        context["table"] = {
            "headers": ["Time (UTC)", "Event", "Player", "Source", "Where", "Properties"],
            "rows": [event_row(event) for event in found[:PAGE]],
        }
        if len(found) > PAGE:
            last = found[PAGE - 1]
            query = {name: form.data.get(name) or "" for name in form.fields}
            query["before"] = encode_cursor([last.at, last.id])
            context["older"] = "?" + urlencode(query)

    def _found(self, wanted: EventFilter) -> list[Event]:
        before = None
        if cursor := self.request.GET.get("before"):
            _, (at, event_id) = decode_cursor(cursor, (datetime, UUID))
            before = (at, event_id)
        with transaction.atomic(), connection.cursor() as raw:
            raw.execute("SELECT set_config('statement_timeout', %s, true)", [f"{TIMEOUT_MS}ms"])
            return selectors.events(wanted=wanted, limit=PAGE + 1, before=before)


def event_row(event: Event) -> list[object]:
    """An event's cells."""
    player: object = "–"
    if event.player_id is not None:
        player = format_html(
            '<a class="text-link" href="{}">{}</a>',
            reverse("admin:accounts_player_change", args=[event.player_id]),
            event.player_id,
        )
    where = " ".join(filter(None, (event.platform, event.app_version, event.country)))
    source = Event.Source(event.source).label.lower() + (" (tester)" if event.is_tester else "")
    return [
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        event.name,
        player,
        source,
        where or "–",
        json.dumps(event.props, ensure_ascii=False)[:200] if event.props else "–",
    ]


def player_panel(player: Player) -> Panel:
    """The newest events on the player's page."""
    # No properties: half a page is too narrow for them, and "All" shows them.
    rows = []
    for event in selectors.recent_events_of(player, limit=10):
        time_, name, _, source, where, _ = event_row(event)
        rows.append([time_, name, source, where])
    query = urlencode({"game": player.game_id, "player": player.pk})
    note = "" if player.analytics_consent else "Without analytics consent, events name no player."
    return Panel(
        columns=["Time (UTC)", "Event", "Source", "Where"],
        rows=rows,
        more_url=f"{reverse('admin:analytics_events')}?{query}",
        note=note,
    )
