"""What the admin classes of all apps are made of.

    @admin.register(Offer)
    class OfferAdmin(GameContentAdmin):
        roles = {"view": EVERYONE, "change": MAKERS, "add": MAKERS}

Tables that grow with play are never counted: `BigTableAdmin` shows PostgreSQL's estimate, or counts
up to a bound. A filter that no index serves looks through their newest rows. Rows of players are
found by the player's id, name or e-mail (`PlayerSearchMixin`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

import structlog
from auditlog.models import LogEntry
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import connection, models, transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from accounts.models import Player
from accounts.roles import ADMINS, EVERYONE, MAKERS, Roles, may
from accounts.selectors import find_players
from config.db import definitions

log = structlog.get_logger(__name__)
COUNT_TO = 1_000
LOOK_THROUGH = 50_000
PANEL_TEMPLATE = "admin/accounts/player/panel.html"


class EstimatedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in its stubs
    """Counts at most `COUNT_TO` rows; an unfiltered table is as large as PostgreSQL thinks."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        counted = rows.order_by()[: COUNT_TO + 1].count()
        if counted <= COUNT_TO or rows.query.where:
            return min(counted, COUNT_TO)
        return max(counted, estimated_rows(rows.model._meta.db_table))


def estimated_rows(table: str) -> int:
    """How many rows PostgreSQL's statistics say a table has, its partitions included."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
               FROM pg_partition_tree(to_regclass(%s)) t JOIN pg_class c ON c.oid = t.relid
               WHERE t.isleaf""",
            [table],
        )
        return int(cursor.fetchone()[0])


class RoleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Permissions by role: `roles` names, for each action, who may."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "change": ADMINS}
    compressed_fields = True
    warn_unsaved_form = True
    list_filter_submit = True
    list_per_page = 50

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "view", self.roles)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "add", self.roles)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "change", self.roles)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "delete", self.roles)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, "view", self.roles)

    def object_or_404(self, request: HttpRequest, object_id: str) -> Any:
        """What a detail action is about."""
        found = self.get_object(request, object_id)
        if found is None:
            raise Http404("There is no such thing")
        return found


class ReadOnlyAdmin(RoleAdmin):
    """Facts: nobody adds, edits or deletes them here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """Filters the newest `LOOK_THROUGH` rows where no index finds what a filter asks for: of a
    value that few or no rows have, a page would read the whole table."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        asked = {name: values[-1] for name, values in self.get_filters_params().items()}
        if self.query or not asked or self._has_index(asked):
            return rows
        newest = self.model._default_manager.order_by("-pk").values_list("pk", flat=True)
        oldest = newest[LOOK_THROUGH - 1 : LOOK_THROUGH].first()
        if oldest is None:
            return rows
        if request.method == "GET":
            messages.info(request, f"Only the newest {LOOK_THROUGH:,} were looked through")
        return rows.filter(pk__gte=oldest)

    def _has_index(self, asked: Mapping[str, str]) -> bool:
        return any(
            all(name in asked and value in (None, asked[name]) for name, value in known.items())
            for known in self.model_admin.indexed_filters
        )


class BigTableAdmin(ReadOnlyAdmin):
    """A table that grows with play: read-only, never counted whole, newest first by its key.

    indexed_filters   parameters of filters that an index serves; None is any value
    """

    indexed_filters: ClassVar[Sequence[Mapping[str, str | None]]] = ()
    paginator = EstimatedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    list_select_related: ClassVar[Any] = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestChangeList


def by_known(field_name: str, values: Iterable[str]) -> tuple[str, type[admin.FieldListFilter]]:
    """A list filter with these values to choose from. To find those that a table has, Django would
    read all of it for each page."""

    class KnownValues(admin.AllValuesFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.lookup_choices: Any = sorted(values)

    return field_name, KnownValues


class GameContentAdmin(RoleAdmin):
    """Definitions of a game: designers edit them, nobody deletes them (they are archived).

    Every write raises the version of the game's definitions, so that all processes see it with
    their next request.
    """

    roles: ClassVar[Roles] = {
        "view": EVERYONE,
        "add": MAKERS,
        "change": MAKERS,
        "delete": frozenset(),
    }
    list_filter: ClassVar[Any] = ("game", "is_active")
    list_select_related: ClassVar[Any] = ("game",)

    def game_of(self, obj: Any) -> UUID:
        """The game that an object belongs to."""
        game_id: UUID = obj.game_id
        return game_id

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            definitions.changed(self.game_of(obj))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_related(request, form, formsets, change)
            definitions.changed(self.game_of(form.instance))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        """The key and the game of something that exists can't change: players hold it by them."""
        fixed = [name for name in ("game", "key") if hasattr(self.model, name)]
        given = super().get_readonly_fields(request, obj)
        return [*given, *fixed] if obj is not None else list(given)


class PlayerSearchMixin:
    """Search by the player's id, name (or name#1234, or its beginning) or e-mail address.

    player_field   the path to the player ("player", or "pk" on the player itself)
    also_search    further exact matches, such as ("transaction_id",)
    """

    player_field: ClassVar[str] = "player"
    also_search: ClassVar[Sequence[str]] = ()
    # Django shows the search box only if there are search fields.
    search_fields: ClassVar[Sequence[str]] = ("pk",)
    search_help_text = "Player's id, name, name#1234 or e-mail"
    model: type[models.Model]

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        ids = find_players(term)
        condition = Q(**{f"{self.player_field}__in": ids})
        for name in self.also_search:
            condition |= self._exact(name, term)
        return queryset.filter(condition), False

    def _exact(self, name: str, term: str) -> Q:
        """A match of one field; none where the term can't be a value of it."""
        column: Any = self.model._meta.get_field(name)
        if isinstance(getattr(column, "target_field", column), models.UUIDField):
            try:
                return Q(**{name: UUID(term)})
            except ValueError:
                return Q(pk__in=[])
        return Q(**{name: term})


@dataclass(frozen=True)
class Panel:
    """A small table on a player's page. `more_url` leads to all of it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    more_url: str = ""
    note: str = ""


@dataclass(frozen=True)
class PlayerPanel:
    title: str
    selector: Callable[[Player], Panel]
    template: str = PANEL_TEMPLATE
    order: int = 50


@dataclass
class _Panels:
    known: dict[str, PlayerPanel] = field(default_factory=dict)


_panels = _Panels()


def register_player_panel(
    title: str,
    selector: Callable[[Player], Panel],
    template: str | None = None,
    order: int = 50,
) -> None:
    """Add a panel to the player's page; apps do this in AppConfig.ready().

    The selector reads a bounded number of rows. Panels stand in `order`.
    """
    panel = PlayerPanel(title, selector, order=order)
    if template is not None:
        panel = PlayerPanel(title, selector, template, order)
    _panels.known[title] = panel


def player_panels() -> list[PlayerPanel]:
    return sorted(_panels.known.values(), key=lambda panel: (panel.order, panel.title))


def drawn_panels(player: Player) -> list[dict[str, Any]]:
    """What the player's page shows. A panel that fails says so; the others stand."""
    drawn = []
    for registered in player_panels():
        try:
            with transaction.atomic():
                panel = registered.selector(player)
        except Exception as error:
            log.error("player_panel_failed", panel=registered.title, exc_info=error)
            panel = Panel((), (), note="This could not be read just now.")
        drawn.append(drawn_panel(registered.title, panel, registered.template))
    return drawn


def drawn_panel(title: str, panel: Panel, template: str = PANEL_TEMPLATE) -> dict[str, Any]:
    """A panel as templates take it."""
    rows = [[shown(value) for value in row] for row in panel.rows]
    return {
        "title": title,
        "template": template,
        "columns": panel.columns,
        "table": {"headers": list(panel.columns), "rows": rows},
        "more_url": panel.more_url,
        "note": panel.note,
        "panel": panel,
    }


class PanelsMixin:
    """A page with panels below its fields."""

    change_form_outer_after_template: str | None = "admin/accounts/panels.html"

    def panels_of(self, obj: Any) -> Sequence[tuple[str, Panel]]:
        """Titles and panels, each of a bounded number of rows."""
        raise NotImplementedError  # each page has its own

    def drawings(self, obj: Any) -> list[dict[str, Any]]:
        return [drawn_panel(*part) for part in self.panels_of(obj)]

    def on_top(self, obj: Any) -> dict[str, Any]:
        """What the page's template shows besides, by name."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        parent: Any = super()
        obj = parent.get_object(request, object_id)
        context = {**(extra_context or {}), "panels": []}
        if obj is not None:
            context |= {"panels": self.drawings(obj), **self.on_top(obj)}
        response: HttpResponse = parent.change_view(request, object_id, form_url, context)
        return response


def shown(value: object) -> object:
    """A value as staff read it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value


def audit(obj: models.Model, **changes: tuple[object, object]) -> None:
    """Write into the audit log what staff changed through a service: field=(before, after).

    For models that are not registered with auditlog, because players change them all the time.
    """
    LogEntry.objects.log_create(
        obj,
        force_log=True,
        action=LogEntry.Action.UPDATE,
        changes={name: [str(old), str(new)] for name, (old, new) in changes.items()},
    )
