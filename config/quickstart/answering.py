"""Whether services answer at given addresses, as CI asks before it uses them.

    python -m config.quickstart.answering URL…

Ends with 0 when every one answers; otherwise says which does not, and why, and ends with 1. The
database named in a PostgreSQL address is made when the server is there and the database is not.
"""

import sys
from urllib.parse import urlsplit

import psycopg
import redis
from kombu import Connection
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

OLDEST_POSTGRES = 150000


def problem_at(url: str) -> str:
    """Why the service at `url` cannot be used; empty when it can."""
    scheme = urlsplit(url).scheme
    try:
        if scheme.startswith("postgres"):
            return postgres_problem(url)
        if scheme.startswith("redis"):
            with redis.Redis.from_url(
                url, socket_timeout=3, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
            ) as client:
                client.ping()
            return ""
        with Connection(url, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:
        # Drivers raise errors of many kinds, and each means the same here.
        return f"{scheme}: {str(error).strip().splitlines()[0] if str(error) else error!r}"
    return ""


def postgres_problem(url: str) -> str:
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", connect_timeout=3, autocommit=True) as connection:
        if connection.info.server_version < OLDEST_POSTGRES:
            return f"PostgreSQL {connection.info.server_version // 10000} is older than 15"
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if found.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return ""


def main() -> int:
    problems = [problem for url in sys.argv[1:] if (problem := problem_at(url))]
    print("; ".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
