"""Endpoints of analytics."""

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone

from analytics import selectors
from analytics.errors import InvalidPeriod, InvalidSplit, UnknownMetric
from analytics.serializers import (
    BatchIn,
    BatchOut,
    MetricOut,
    MetricQuery,
    figures_of,
    read_events,
)
from analytics.services import batches
from config.api.callers import ApiRequest
from config.api.parsing import invalid
from config.api.problems import NotFound
from config.api.views import ApiViewSet, answer, endpoint
from config.api.wire import UNSET


class EventViewSet(ApiViewSet):
    @endpoint(
        callers=("player", "server"),
        answers={202: BatchOut},
        body=BatchIn,
        scope="events:write",
        max_body=settings.MAX_EVENT_BATCH_BYTES,
        problems=(NotFound,),
        example={
            "sent_at": "2026-11-21T09:30:05Z",
            "events": [
                {
                    "id": "019aa8f0-5b5c-7c3e-8a55-0d6f2a1b3c4d",
                    "name": "level_complete",
                    "at": "2026-11-21T09:30:00Z",
                    "props": {"level": 12, "stars": 3},
                }
            ],
        },
    )
    def create(self, request: ApiRequest, body: BatchIn) -> HttpResponse:
        """Send up to 500 events.

        The accepted ones are durable when this answers. Sending an event again (same `id`) does
        nothing but count as a duplicate, so a batch without an answer is simply sent again. An
        event that breaks a rule is listed in `rejected`; the others are stored.
        """
        caller = request.caller
        player_id = caller.player_id
        if body.player is not UNSET:
            if caller.kind != "server":
                raise invalid("/player", "Only a game server names the player")
            batches.check_player(game_id=caller.game_id, player_id=body.player)
            player_id = body.player
        sent_at = None if body.sent_at is UNSET else body.sent_at
        events, repeated, rejected = read_events(body.events, sent_at=sent_at, now=timezone.now())
        outcome = batches.store(
            game_id=caller.game_id,
            player_id=player_id,
            session_id=caller.session_id,
            events=events,
        )
        return answer(
            BatchOut(
                accepted=outcome.accepted,
                duplicates=outcome.duplicates + repeated,
                rejected=rejected,
            ),
            status=202,
        )


class MetricViewSet(ApiViewSet):
    @endpoint(
        callers=("server",),
        answers={200: MetricOut},
        query=MetricQuery,
        scope="analytics:read",
        problems=(UnknownMetric, InvalidSplit, InvalidPeriod),
    )
    def retrieve(self, request: ApiRequest, query: MetricQuery) -> HttpResponse:
        """Read a metric day by day.

        Days are the game's, and both ends are included. A day without a value answers 0 when
        the metric isn't split, and is left out when it is. `provisional` figures may still
        change with events that come late.
        """
        series = selectors.metric_series(
            game_id=request.caller.game_id,
            metric=query.metric,
            first=query.from_,
            last=query.to,
            by=query.by,
        )
        return answer(MetricOut(metric=query.metric, results=figures_of(series, by=query.by)))
