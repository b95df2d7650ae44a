"""Python client of Evenkeel, for game servers, tools and tests.

transport = Transport("https://play.example.com")
player = PlayerClient(transport, "pk_…", Guest.new(), platform="linux", app_version="1.0")
player.save("main", b"…")
player.report_stats(flowers_grown=3)

server = ServerClient(transport, "sk_…")
server.grant(player.player_id, reason="Welcome", currencies={"gems": 5}, key="welcome:…")
"""

from .errors import EvenkeelError, RateLimitedError, UnreachableError, VersionConflictError
from .player import Guest, PlayerClient
from .server import ServerClient
from .transport import Answer, Transport

__all__ = [
    "Answer",
    "EvenkeelError",
    "Guest",
    "PlayerClient",
    "RateLimitedError",
    "ServerClient",
    "Transport",
    "UnreachableError",
    "VersionConflictError",
]
