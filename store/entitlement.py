"""What a subscription entitles to, and until when. The one rule; docs/store.md states it."""

from datetime import datetime, timedelta

from store.models.subscriptions import Subscription

Phase = Subscription.Phase
ENTITLING = frozenset({Phase.ACTIVE, Phase.TRIAL, Phase.GRACE, Phase.CANCELLED})
# Who pays is not locked out while a renewal is told late, or a platform can't be asked.
LEEWAY = timedelta(days=1)


def ends_at(
    phase: str, entitled_until: datetime | None, grace_until: datetime | None
) -> datetime | None:
    """When the entitlement ends by what the platform said last; None: it named no end."""
    if phase == Phase.GRACE and grace_until is not None:
        return max(grace_until, entitled_until or grace_until)
    return entitled_until


def lasts_until(
    phase: str, entitled_until: datetime | None, grace_until: datetime | None, *, renews: bool
) -> datetime | None:
    """When it ends if nothing more is heard: who renews is given `LEEWAY`."""
    end = ends_at(phase, entitled_until, grace_until)
    if end is not None and renews and phase in (Phase.ACTIVE, Phase.TRIAL):
        return end + LEEWAY
    return end


def entitles(
    phase: str,
    entitled_until: datetime | None,
    grace_until: datetime | None,
    *,
    renews: bool,
    is_granted: bool,
    is_replaced: bool,
    now: datetime,
) -> bool:
    """Whether a subscription entitles at `now`.

    It is paid or in its trial or grace period, or cancelled and not over yet; its period was
    granted here (not quarantined, not without an owner); and no other has taken its place.
    """
    if phase not in ENTITLING or not is_granted or is_replaced:
        return False
    until = lasts_until(phase, entitled_until, grace_until, renews=renews)
    return until is None or now < until
