"""The back office of leaderboards: boards, seasons, entries, and what staff do to them."""

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.backoffice import (
    BigTableAdmin,
    EstimatedPaginator,
    GameContentAdmin,
    PlayerSearchMixin,
    ReadOnlyAdmin,
    estimated_rows,
)
from accounts.confirmation import CONFIRMATION_TEMPLATE
from accounts.models import Player
from accounts.roles import EVERYONE, HELPERS, MAKERS, may
from accounts.selectors import find_players
from config.api.problems import Problem
from config.redis import RedisAway
from leaderboards.models import Board, EntryRow, Season
from leaderboards.services import boards, entries, ranks


class ReasonForm(forms.Form):
    """Whatever staff do to an entry has a reason, which the board's log keeps."""

    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)


class BoardForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A board, with the rules that the game's file has too."""

    class Meta:
        model = Board
        fields = ("game", "key", "name", "sort", "keep", "reset", "min_score", "max_score")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for name, text in boards.mistakes_in(values).items():
            self.add_error(name, text)
        changed = (
            self.instance.pk and "sort" in self.changed_data and not self.instance._state.adding
        )
        if changed and boards.in_use(self.instance.pk):
            self.add_error("sort", ValidationError("The board has entries: its sort can't change"))
        return values


@admin.register(Board)
class BoardAdmin(GameContentAdmin):
    form = BoardForm
    fields = (
        "game",
        "key",
        "name",
        "is_active",
        "sort",
        "keep",
        "reset",
        "min_score",
        "max_score",
        "rewards",
    )
    readonly_fields = ("rewards",)
    list_display = ("key", "game", "name", "sort", "keep", "reset", "is_active")
    search_fields = ("key", "name")
    actions: ClassVar[list[str]] = ["rebuild"]
    roles: ClassVar[Any] = {**GameContentAdmin.roles, "rebuild": MAKERS}

    def save_model(self, request: HttpRequest, obj: Board, form: Any, change: bool) -> None:
        values = {
            name: form.cleaned_data[name] for name in form.cleaned_data if name in boards.FIELDS
        }
        saved = boards.board_save(game=obj.game, key=obj.key, values=values)
        obj.pk = saved.pk

    def has_rebuild_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "rebuild", self.roles)

    @action(description="Rebuild the rank index", permissions=["rebuild"])
    def rebuild(self, request: HttpRequest, queryset: "QuerySet[Board]") -> None:
        """Of the running seasons. Players go on reading the old index meanwhile."""
        seasons = Season.objects.filter(
            Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()), board__in=queryset
        )
        try:
            done = sum(ranks.rebuild(season.id) for season in seasons)
        except RedisAway:
            messages.error(request, "Redis does not answer; the index is rebuilt when it is back")
            return
        messages.success(request, f"{done} seasons were rebuilt")


@admin.register(Season)
class SeasonAdmin(ReadOnlyAdmin):
    list_display = ("board", "number", "starts_at", "ends_at")
    list_select_related = ("board",)
    list_filter = ("board__game",)
    search_fields = ("board__key",)
    ordering = ("-starts_at",)
    roles: ClassVar[Any] = {"view": EVERYONE}


class EntryPaginator(EstimatedPaginator):
    """The list is a view, of whose size PostgreSQL has no idea."""

    @property
    def count(self) -> int:
        rows: Any = self.object_list
        if rows.query.where:
            return super().count
        return max(super().count, estimated_rows("leaderboards_entry"))


@admin.register(EntryRow)
class EntryAdmin(PlayerSearchMixin, BigTableAdmin):
    """Entries of all boards; found by player, since there may be very many."""

    paginator = EntryPaginator
    list_display = ("player", "board", "number", "score", "achieved_at", "state")
    list_select_related = ("player", "season__board")
    fields = (
        "board",
        "number",
        "player",
        "score",
        "achieved_at",
        "metadata",
        "state",
        "version",
    )
    readonly_fields = fields
    actions_detail: ClassVar[list[str]] = ["hide", "show", "remove"]
    roles: ClassVar[Any] = {"view": EVERYONE, "act": HELPERS}

    def get_ordering(self, request: HttpRequest) -> tuple[str, str]:
        """The order of the table's primary key."""
        return ("season", "player")

    @admin.display(description="Board")
    def board(self, row: EntryRow) -> str:
        return row.season.board.key

    @admin.display(description="Season")
    def number(self, row: EntryRow) -> int:
        return row.season.number

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        """By player, through the seasons of the players' games: that is the primary key."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        players = Player.objects.filter(pk__in=find_players(term)).values_list("pk", "game_id")
        seasons = Season.objects.filter(board__game_id__in={game for _, game in players})
        condition = Q(
            season_id__in=list(seasons.values_list("pk", flat=True)),
            player_id__in=[player for player, _ in players],
        )
        return queryset.filter(condition), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> EntryRow | None:
        season, _, player = object_id.partition(":")
        try:
            key = {"season_id": UUID(season), "player_id": UUID(player)}
        except ValueError:
            return None
        found: EntryRow | None = (
            self.get_queryset(request)
            .select_related("player", "season__board")
            .filter(**key)
            .first()
        )
        return found

    def has_act_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "act", self.roles)

    @action(description="Hide", url_path="hide", permissions=["act"])
    def hide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._change(
            request,
            object_id,
            title="Hide this entry",
            explanation="Others no longer see it, also when it improves. The player still does.",
            act=lambda given: entries.entry_hide(**given),
        )

    @action(description="Show again", url_path="show", permissions=["act"])
    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._change(
            request,
            object_id,
            title="Show this entry again",
            explanation="A hidden entry is ranked again.",
            act=lambda given: entries.entry_show(**given),
        )

    @action(description="Remove", url_path="remove", permissions=["act"])
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(given: dict[str, Any]) -> bool:
            entries.entry_remove(**given)
            return True

        return self._change(
            request,
            object_id,
            title="Remove this entry",
            explanation="It is taken off the board. The player's next score starts anew.",
            act=act,
        )

    def _change(
        self,
        request: HttpRequest,
        object_id: str,
        *,
        title: str,
        explanation: str,
        act: Callable[[dict[str, Any]], bool],
    ) -> HttpResponse:
        """Ask for a reason, then act."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        back_url = reverse("admin:leaderboards_entryrow_change", args=[row.pk])
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            given = {
                "game_id": row.season.board.game_id,
                "season_id": row.season_id,
                "player_id": row.player_id,
                "author": request.user.get_username(),
                "reason": form.cleaned_data["reason"],
            }
            try:
                changed = act(given)
            except Problem as problem:
                messages.error(request, problem.detail)
            else:
                said = messages.success if changed else messages.warning
                said(request, "Done." if changed else "The entry was in that state already.")
            return HttpResponseRedirect(back_url)
        return TemplateResponse(
            request,
            CONFIRMATION_TEMPLATE,
            {
                **self.admin_site.each_context(request),
                "opts": self.model._meta,
                "title": title,
                "form": form,
                "question": {"title": title, "text": explanation, "button": title},
                "back": back_url,
                "media": self.media + form.media,
            },
        )
