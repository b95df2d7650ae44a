"""What can go wrong with saves, stats and achievements."""

from config.api.problems import Problem


class SaveServerOnly(Problem):
    """Only a server key writes a save whose access is `server`; its player reads it."""

    status, code, title = 403, "save_server_only", "Only the game's server writes this save"


class SaveAccessFixed(Problem):
    """A save's access is chosen when its slot is made. Delete the slot to choose again."""

    status, code, title = 409, "save_access_fixed", "The access of a save can't be changed"


class SaveSlotsFull(Problem):
    """The player has as many save slots as there may be."""

    status, code, title = 409, "save_slots_full", "All save slots are in use"


class SaveSpaceFull(Problem):
    """The player's saves together would be larger than they may be."""

    status, code, title = 409, "save_space_full", "The player's saves are too large together"


class ContentDigestMismatch(Problem):
    """The body is not the one whose `Content-Digest` was sent: it was damaged on its way."""

    status, code, title = 400, "content_digest_mismatch", "The body does not match its digest"


class UnknownStat(Problem):
    """The game has no such stat; `errors` says which."""

    status, code, title = 422, "unknown_stat", "There is no such stat"


class StatNotWritable(Problem):
    """Only the game's server writes this stat."""

    status, code, title = 403, "stat_not_writable", "Only the game's server writes this stat"


class StatOutOfBounds(Problem):
    """The stat's value would leave the bounds of its definition (or 64 bits)."""

    status, code, title = 422, "stat_out_of_bounds", "The value is out of the stat's bounds"


class StatStepTooLarge(Problem):
    """One report may not change the stat by so much."""

    status, code, title = 422, "stat_step_too_large", "The change is larger than the stat allows"


class StatRateExceeded(Problem):
    """The stat changes faster than its definition allows. Try again after `Retry-After` seconds."""

    status, code, title = 429, "stat_rate_exceeded", "The stat changes too fast"


class AchievementNotReportable(Problem):
    """This achievement follows a stat, or is unlocked by the game's server alone."""

    status, code, title = 403, "achievement_not_reportable", "This achievement takes no reports"
