"""The admin's first page: one game's last 30 days."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from accounts.models import Game
from accounts.roles import FINANCE, may
from analytics import selectors
from analytics.definitions import METRICS
from analytics.selectors import Dashboard

DAYS = 30
CARDS = ("dau", "new_players", "sessions", "events", "purchases")
# Colours that tell each other apart for colour-blind eyes too (Okabe and Ito).
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")

GREY = "#9ca3af"
# Chart.js options. Unfold sets the grids' colours for its light and dark modes.
OPTIONS = json.dumps(
    {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "align": "end",
                "labels": {
                    "boxHeight": 5,
                    "boxWidth": 5,
                    "color": GREY,
                    "pointStyle": "circle",
                    "usePointStyle": True,
                },
            }
        },
        "scales": {
            "x": {
                "border": {"width": 0},
                "grid": {"display": False},
                "ticks": {"color": GREY, "maxTicksLimit": 8, "maxRotation": 0},
            },
            "y": {
                "beginAtZero": True,
                "border": {"width": 0},
                "grid": {"tickWidth": 0},
                "ticks": {"color": GREY, "precision": 0, "maxTicksLimit": 6},
            },
        },
    }
)


def dashboard_callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the template needs beside Unfold's own context (UNFOLD["DASHBOARD_CALLBACK"])."""
    games = selectors.games_for_dashboard()
    game = chosen_game(games, request.GET.get("game", ""))
    context["games"] = [
        {
            "title": other.name,
            "link": "?" + urlencode({"game": other.slug}),
            "active": other is game,
        }
        for other in games
    ]
    context["links"] = quick_links(request.user)
    if game is None:
        return context
    data = selectors.dashboard(game=game, days=DAYS)
    return context | {
        "game": game,
        "cards": [card(data, key) for key in CARDS],
        "charts": charts(data),
        "chart_options": OPTIONS,
        "top_events": data.top_events,
        "updated_at": data.updated_at,
        "today": data.days[-1],
    }


def chosen_game(games: Sequence[Game], slug: str) -> Game | None:
    """The game with this slug, or else the first."""
    by_slug = {game.slug: game for game in games}
    return by_slug.get(slug) or (games[0] if games else None)


def quick_links(user: Any) -> list[dict[str, str]]:
    """Where staff go from here; only what this deployment has and this member may see."""
    counts_money = may(user, "view", {"view": FINANCE})
    wanted = (
        ("Find anything", "search", "admin:store_find"),
        ("Find a player", "person_search", "admin:accounts_player_changelist"),
        ("Stuck", "mark_email_unread", "admin:store_stuck"),
        *([("Revenue", "payments", "admin:store_revenue")] if counts_money else []),
        ("Events", "timeline", "admin:analytics_events"),
        ("Figures", "monitoring", "admin:analytics_dailyfigure_changelist"),
        ("API documentation", "api", "docs"),
    )
    links = []
    for title, icon, name in wanted:
        try:
            links.append({"title": title, "icon": icon, "href": reverse(name)})
        except NoReverseMatch:
            continue
    return links


def card(data: Dashboard, key: str) -> dict[str, Any]:
    """Today's value, and yesterday's whole day beside it."""
    today, yesterday = data.days[-1], data.days[-2]
    return {
        "title": METRICS[key].title,
        "value": data.values[key].get(today, 0),
        "yesterday": data.values[key].get(yesterday, 0),
    }


def charts(data: Dashboard) -> list[dict[str, Any]]:
    """Line charts for Unfold's component: title, and Chart.js data as JSON."""
    return [
        {
            "title": "Active and new players",
            "data": chart_data(
                data.days,
                {METRICS[key].title: data.values[key] for key in ("dau", "new_players")},
            ),
        },
        {
            "title": "Sessions and purchases",
            "data": chart_data(
                data.days,
                {METRICS[key].title: data.values[key] for key in ("sessions", "purchases")},
            ),
        },
        {
            "title": "Currency given, by currency",
            "data": chart_data(data.days, by_label(data.currencies["currency_source"])),
        },
        {
            "title": "Currency spent, by currency",
            "data": chart_data(data.days, by_label(data.currencies["currency_sink"])),
        },
    ]


def by_label(rows: Sequence[tuple[date, str, int]]) -> dict[str, dict[date, int]]:
    """The largest labels, each with its days."""
    series: dict[str, dict[date, int]] = defaultdict(dict)
    for day, label, value in rows:
        series[label or "unknown"][day] = value
    largest = sorted(series, key=lambda label: (-sum(series[label].values()), label))
    return {label: series[label] for label in largest[: len(COLORS)]}


def chart_data(days: Sequence[date], series: dict[str, dict[date, int]]) -> str:
    """Chart.js data: a line for each of the series."""
    return json.dumps(
        {
            "labels": [f"{day:%d %b}" for day in days],
            "datasets": [
                {
                    "label": label,
                    "data": [values.get(day, 0) for day in days],
                    "borderColor": color,
                    "backgroundColor": color,
                    "borderWidth": 2,
                    "pointRadius": 0,
                    "cubicInterpolationMode": "monotone",
                }
                for (label, values), color in zip(series.items(), COLORS, strict=False)
            ],
        }
    )
