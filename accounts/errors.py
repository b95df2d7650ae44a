"""The problems that accounts answers with."""

from config.api.problems import Problem


class InvalidCredentials(Problem):
    """The credentials are wrong. The same words, and the same time, whether or not the account
    exists."""

    status, code, title = 401, "invalid_credentials", "The credentials are wrong"


class PlayerBanned(Problem):
    """The player may not sign in: `reason` and `ends_at` (null: no end) say why and how long."""

    status, code, title = 403, "player_banned", "This player is banned"


class RefreshInvalid(Problem):
    """The refresh token is malformed, forged, expired, or of a session that ended. Sign in."""

    status, code, title = 401, "refresh_invalid", "The refresh token is not valid"


class RefreshReused(Problem):
    """A spent refresh token was used again: someone else may have a copy. The session has been
    revoked; sign in again."""

    status, code, title = 401, "refresh_reused", "The refresh token was used before"


class SignInBusy(Problem):
    """Too many passwords are being checked at this moment. Try again after `Retry-After`."""

    status, code, title = 503, "sign_in_busy", "Too many sign-ins at this moment"


class MethodNotAvailable(Problem):
    """This deployment does not offer this way to sign in."""

    status, code, title = 422, "method_not_available", "This sign-in method is not available"


class IdentityTaken(Problem):
    """Another player signs in with this identity."""

    status, code, title = 409, "identity_taken", "This identity belongs to another player"


class LastIdentity(Problem):
    """The last way to sign in can't be removed: the player would be locked out."""

    status, code, title = 409, "last_identity", "The last sign-in method can't be removed"


class TooManyIdentities(Problem):
    """A player has at most 20 sign-in methods, one of them an e-mail address."""

    status, code, title = 409, "too_many_identities", "No more sign-in methods can be linked"


class NameExhausted(Problem):
    """All 10,000 tags of this display name are taken. Choose another name."""

    status, code, title = 409, "display_name_exhausted", "This display name is used up"


class TooManyServerKeys(Problem):
    """A game has at most two active server keys, for rotation. Revoke one first."""

    status, code, title = 409, "too_many_server_keys", "There are two active server keys already"


class UnknownScope(Problem):
    """There is no such scope."""

    status, code, title = 422, "unknown_scope", "There is no such scope"
