"""The quality gates behind `make test`, each with its time, two at once.

    python -m config.quickstart.gates quick | all | tests [--jobs N] [--again] | write-schema

Services that the environment does not name are started for the gates that need them.
"""

import argparse
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from config.quickstart.layout import LOCAL, ROOT
from config.quickstart.processes import QuickstartError
from config.quickstart.services import Services

APPS = ("accounts", "analytics", "store", "progress", "leaderboards")
OURS = (*APPS, "config")
CHECKED = (*OURS, "tests", "benchmarks", "clients/python", "examples", "manage.py")
SCHEMA = ROOT / "docs" / "openapi.yaml"
COVERAGE = LOCAL / "coverage.json"
PYTHON = sys.executable
BIN = Path(sys.executable).parent
# pytest's last line: "===== 812 passed in 93.10s (0:01:33) =====".
SUMMARY = re.compile(r"^(\x1b\[[\d;]*m)*=+ .* in [\d.]+s.*=+(\x1b\[[\d;]*m)*$")


@dataclass
class Gate:
    """One check: a command that has to end with 0, or a function that returns what is wrong."""

    name: str
    command: Sequence[str | Path] = ()
    environment: dict[str, str] = field(default_factory=dict)
    function: Callable[[dict[str, str]], str] | None = None

    def run(self, services: dict[str, str]) -> tuple[str, float]:
        """What is wrong (empty: nothing), and the seconds it took."""
        begun = time.monotonic()
        environment = os.environ | {"DJANGO_ENV": "test"} | services | self.environment
        if self.function is not None:
            return self.function(environment), time.monotonic() - begun
        return run_command(self.command, environment), time.monotonic() - begun


def run_command(command: Sequence[str | Path], environment: dict[str, str]) -> str:
    """The output of a command that failed; empty when it did not."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout.strip() or f"status {done.returncode}"


def existing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if (ROOT / path).exists()]


def quick_gates() -> list[Gate]:
    return [
        Gate("ruff check", [BIN / "ruff", "check", "--quiet", "."]),
        Gate("ruff format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
        Gate("import directions", [BIN / "lint-imports"]),
    ]


def all_gates() -> list[Gate]:
    manage = [PYTHON, "manage.py"]
    python_paths = [path for path in existing(CHECKED) if any_python(ROOT / path)]
    return [
        Gate("types (mypy --strict)", [PYTHON, "-m", "mypy", *python_paths]),
        *quick_gates(),
        Gate("models match migrations", [*manage, "makemigrations", "--check", "--dry-run"]),
        Gate("migrations are safe to deploy", [PYTHON, "-c", LINT_MIGRATIONS]),
        Gate(
            "production settings (check --deploy)",
            [PYTHON, "-c", CHECK_DEPLOY],
            production_sample(),
        ),
        Gate(
            "bandit",
            [BIN / "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", *OURS],
        ),
        Gate("hadolint", [BIN / "hadolint", "Dockerfile"]),
        Gate("OpenAPI schema", function=schema_problems),
        Gate("generated pages", [*manage, "write_docs", "--check"]),
    ]


def any_python(path: Path) -> bool:
    return path.is_file() or next(path.rglob("*.py"), None) is not None


# The linter's command without its app among INSTALLED_APPS, where it has no business.
LINT_MIGRATIONS = f"""
import django
django.setup()
from django.core.management import call_command
from django_migration_linter.management.commands.lintmigrations import Command
call_command(
    Command(), include_apps={[*OURS]!r}, ignore_initial_migrations=True, no_cache=True,
    sql_analyser="postgresql",
)
"""


# Django's checks know its middlewares by name; ours are subclasses, so the bases' names are added.
CHECK_DEPLOY = """
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.utils.module_loading import import_string
ours = [import_string(name) for name in settings.MIDDLEWARE]
bases = {base for one in ours if isinstance(one, type) for base in one.__mro__[1:]}
settings.MIDDLEWARE += [f"{base.__module__}.{base.__qualname__}" for base in bases]
call_command("check", deploy=True, fail_level="WARNING")
"""


def production_sample() -> dict[str, str]:
    """A complete, safe production environment, to check production settings with."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "DJANGO_ENV": "production",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ACCESS_TOKEN_KEYS": key.decode(),
        "ALLOWED_HOSTS": "play.example.com",
        "PUBLIC_URL": "https://play.example.com",
        "TRUSTED_PROXIES": "10.0.0.0/8",
        "METRICS_TOKEN": secrets.token_urlsafe(32),
        "EMAIL_URL": "smtp+tls://mail:secret@mail.example.com:587",
    }


def generate_schema(target: Path, environment: dict[str, str]) -> str:
    return run_command(
        [
            *(PYTHON, "manage.py", "spectacular", "--validate", "--fail-on-warn"),
            *("--file", target),
        ],
        environment,
    )


def schema_problems(environment: dict[str, str]) -> str:
    """What is wrong with the schema: a warning of the generator, or docs/openapi.yaml is old."""
    fresh = LOCAL / f"openapi-{os.getpid()}.yaml"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        if problem := generate_schema(fresh, environment):
            return problem
        if not SCHEMA.exists() or SCHEMA.read_bytes() != fresh.read_bytes():
            return "docs/openapi.yaml is not what the code says: run `make schema` and commit it"
        return ""
    finally:
        fresh.unlink(missing_ok=True)


def run_gates(gates: list[Gate], *, with_services: bool) -> int:
    """Run them two at a time; 1 when any found something."""
    failures: list[str] = []
    services = Services(LOCAL / f"gates-{os.getpid()}", durable=False)
    try:
        found = services.start(os.environ) if with_services else {}
        with ThreadPoolExecutor(max_workers=2) as pool:
            running = {pool.submit(gate.run, found): gate for gate in gates}
            for future in as_completed(running):
                problem, seconds = future.result()
                gate = running[future]
                print(
                    f"{'FAILED' if problem else 'ok    '} {gate.name} ({seconds:.1f} s)", flush=True
                )
                if problem:
                    failures.append(f"--- {gate.name}\n{problem}")
    finally:
        services.stop()
    for failure in failures:
        print(f"\n{failure}", flush=True)
    print(f"\n{len(gates) - len(failures)} of {len(gates)} gates passed", flush=True)
    return 1 if failures else 0


def run_tests(jobs: int, arguments: list[str], *, again: bool) -> int:
    """The whole suite with coverage, then its limits; `again`: on other services, without coverage
    and what is the same on all of them. pytest's summary is the last line."""
    COVERAGE.parent.mkdir(parents=True, exist_ok=True)
    COVERAGE.unlink(missing_ok=True)
    workers = ["-n", str(jobs), "--dist", "worksteal"] if jobs else []
    coverage = ["--cov", f"--cov-report=json:{COVERAGE}", "--cov-report=term:skip-covered"]
    command = [
        *(PYTHON, "-m", "pytest", *workers),
        *(["-m", "not once"] if again else coverage),
        *(
            "--durations",
            "15",
            "--color",
            "yes" if sys.stdout.isatty() else "no",
        ),
        *arguments,
    ]
    summary = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            if SUMMARY.match(line.rstrip()):
                summary = line.rstrip()
    from config.quickstart.coverage_gate import problems_in

    problems = [] if process.returncode or again else problems_in(COVERAGE)
    for problem in problems:
        print(f"coverage: {problem}")
    if summary:
        print(summary, flush=True)
    return process.returncode or (1 if problems else 0)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="gates", description="The quality gates.")
    parser.add_argument("action", choices=["quick", "all", "tests", "write-schema"])
    parser.add_argument("--jobs", type=int, default=2, help="processes of pytest; 0: one")
    parser.add_argument("--again", action="store_true", help="tests: on other services")
    options, rest = parser.parse_known_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        if options.action == "tests":
            return run_tests(options.jobs, rest, again=options.again)
        if options.action == "write-schema":
            problem = generate_schema(SCHEMA, os.environ | {"DJANGO_ENV": "test"})
            print(problem or f"Wrote {SCHEMA.relative_to(ROOT)}")
            return 1 if problem else 0
        if options.action == "quick":
            return run_gates(quick_gates(), with_services=False)
        return run_gates(all_gates(), with_services=True)
    except QuickstartError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
