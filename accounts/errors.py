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
    """Another player signs in with this identity. Where its secret or password was right,
    `merge_token` lets the caller absorb that player (`POST /v1/players/me/merges`)."""

    status, code, title = 409, "identity_taken", "This identity belongs to another player"


class LastIdentity(Problem):
    """The last way to sign in can't be removed: the player would be locked out."""

    status, code, title = 409, "last_identity", "The last sign-in method can't be removed"


class TooManyIdentities(Problem):
    """A player has at most 20 sign-in methods, one of them an e-mail address."""

    status, code, title = 409, "too_many_identities", "No more sign-in methods can be linked"


class MergeTokenInvalid(Problem):
    """The merge token is malformed, expired, or another player's; or the identity has changed
    since. Link the identity again."""

    status, code, title = 422, "merge_token_invalid", "The merge token is not valid"


class MergeRefused(Problem):
    """These two players can't be merged: one is a tester, or the other is banned."""

    status, code, title = 409, "merge_refused", "These players can't be merged"


class TooManyMerges(Problem):
    """A player absorbs so many others a year, and no more."""

    status, code, title = 409, "too_many_merges", "This player was merged too often"


class PlayerMerged(Problem):
    """The player was merged into another one: `merged_into`. Nothing can be done to it."""

    status, code, title = 409, "player_merged", "This player was merged into another"


class MergeNotUndoable(Problem):
    """The merge was undone, is too old, or was followed by another."""

    status, code, title = 409, "merge_not_undoable", "This merge can't be undone"


class NameExhausted(Problem):
    """All 10,000 tags of this display name are taken. Choose another name."""

    status, code, title = 409, "display_name_exhausted", "This display name is used up"


class TooManyServerKeys(Problem):
    """A game has at most two active server keys, for rotation. Revoke one first."""

    status, code, title = 409, "too_many_server_keys", "There are two active server keys already"


class UnknownScope(Problem):
    """There is no such scope."""

    status, code, title = 422, "unknown_scope", "There is no such scope"


class NotYourself(Problem):
    """A player can't be their own friend, nor block themselves."""

    status, code, title = 422, "not_yourself", "That is the calling player"


class PlayerBlocked(Problem):
    """The caller has blocked this player. Unblock first."""

    status, code, title = 409, "player_blocked", "You have blocked this player"


class FriendCodeUnknown(Problem):
    """No player of this game has this friend code. Too many unknown codes are `rate_limited`."""

    status, code, title = 404, "friend_code_unknown", "No player has this code"


class NoFriendRequest(Problem):
    """This player has not asked the caller, or no longer does."""

    status, code, title = 404, "no_friend_request", "There is no such friend request"


class FriendsFull(Problem):
    """A list of friends is full: the caller's, or (`whose`: `theirs`) that of the other player."""

    status, code, title = 409, "friends_full", "There is no room for another friend"


class FriendRequestsFull(Problem):
    """Too many requests wait: those the caller has sent, or (`whose`: `theirs`) those the other
    player has received. Some have to be answered or withdrawn first."""

    status, code, title = 409, "friend_requests_full", "Too many friend requests wait"


class BlocksFull(Problem):
    """The caller has blocked as many players as one may."""

    status, code, title = 409, "blocks_full", "No more players can be blocked"
