"""Makes `.venv` from the pinned, hashed requirements.

    python3 config/quickstart/bootstrap.py

Runs on a bare Python: nothing but the standard library, no venv module, no ensurepip, and on a
Debian that lets pip install nothing (PEP 668). uv makes the environment: the one on the PATH, or
one fetched into `.tools/`, its hash checked. Does nothing when the requirements are unchanged.
"""

from __future__ import annotations

import configparser
import hashlib
import html
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

OLDEST, TOO_NEW = (3, 11), (3, 14)
ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / ".requirements-installed"
UNFINISHED = VENV / ".requirements-unfinished"
REQUIREMENTS = ROOT / "requirements" / "development.txt"
UV_REQUIREMENTS = ROOT / "requirements" / "tools.txt"
PYPI = "https://pypi.org/simple"


class BootstrapError(Exception):
    """What a person has to do first; the message says it."""


def main() -> int:
    try:
        use_suitable_python()
        install()
    except BootstrapError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"\n{error.cmd[0]} {error.cmd[1]} failed; its message is above.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Running it again goes on from here.", file=sys.stderr)
        return 130
    return 0


def use_suitable_python() -> None:
    """Go on under a newer Python of this machine when the one called is too old or too new."""
    if os.name != "posix":
        raise BootstrapError("Evenkeel runs on Linux and macOS; on Windows use WSL 2.")
    if OLDEST <= sys.version_info[:2] < TOO_NEW:
        return
    for minor in (13, 12, 11):
        found = shutil.which(f"python3.{minor}")
        if found:
            os.execv(found, [found, *sys.argv])
    raise BootstrapError(
        f"Python 3.11, 3.12 or 3.13 is needed; this is {platform.python_version()} and no other "
        "was found. Install one, or name it: make PYTHON=/path/to/python3 run"
    )


def install() -> None:
    wanted = fingerprint()
    python = VENV / "bin" / "python"
    if works(python) and STAMP.exists() and STAMP.read_text() == wanted:
        return
    begun = time.monotonic()
    say("Making the Python environment in .venv (once; a minute or two) …")
    environment = uv_environment()
    uv = find_uv() or fetch_uv()
    # An installation that was cut short may have left half a package: begin it again.
    if UNFINISHED.exists() or not works(python):
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], environment)
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    run(
        [
            *(uv, "pip", "install", "--python", str(python), "--require-hashes"),
            *("-r", str(REQUIREMENTS)),
            # Progress bars need a terminal; without one uv would only list every package.
            *(() if sys.stderr.isatty() else ("--quiet",)),
        ],
        environment,
    )
    STAMP.write_text(wanted)
    UNFINISHED.unlink()
    say(f"Environment ready ({time.monotonic() - begun:.0f} s).")


def say(text: str) -> None:
    print(text, flush=True)


def run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)


def fingerprint() -> str:
    """What the environment is made from: the pinned requirements and the Python."""
    content = REQUIREMENTS.read_bytes() + f"{sys.version_info[:2]} {sys.executable}".encode()
    return hashlib.sha256(content).hexdigest()


def works(python: Path) -> bool:
    """Whether that interpreter starts, and is the version that we run under."""
    try:
        shown = subprocess.run(
            [str(python), "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return shown.stdout.split() == [str(part) for part in sys.version_info[:2]]


# How to reach the package index: as pip is configured, where uv itself is not.


def pip_settings() -> dict[str, str]:
    """pip's `[global]` and `[install]` settings, `PIP_*` over the files, as pip reads them."""
    home = Path.home()
    files = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
    ]
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        files = []
    elif named:
        files.append(Path(named))
    parser = configparser.RawConfigParser()
    try:
        parser.read([str(file) for file in files])
    except configparser.Error as error:
        raise BootstrapError(f"pip's configuration cannot be read: {error}") from error
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def usable(address: str) -> bool:
    """Whether an address is remote, or names a directory that exists (uv stops at one missing)."""
    if address.startswith("file://"):
        return Path(urllib.parse.unquote(address[7:])).is_dir()
    return "://" in address or Path(address).is_dir()


def uv_environment() -> dict[str, str]:
    """The environment for uv: its own variables as they are, pip's settings where it has none."""
    pip = pip_settings()

    def listed(name: str) -> list[str]:
        return [part for part in pip.get(name, "").split() if usable(part)]

    given: dict[str, str] = {
        "UV_PYTHON_DOWNLOADS": "never",
        # Packages are pinned by hash, so it does not matter which index offers them.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": pip.get("index-url", "").strip(),
        "UV_INDEX": " ".join(listed("extra-index-url")),
        "UV_FIND_LINKS": ",".join(listed("find-links")),
        "UV_INSECURE_HOST": pip.get("trusted-host", "").strip(),
        "UV_HTTP_TIMEOUT": pip.get("default-timeout", pip.get("timeout", "60")),
    }
    certificates = pip.get("cert", "")
    if certificates and Path(certificates).is_file():
        given["SSL_CERT_FILE"] = certificates
    own = dict(os.environ)
    # An environment that happens to be active must not receive the packages.
    own.pop("VIRTUAL_ENV", None)
    if any(name in own for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_CONFIG_FILE")):
        del given["UV_DEFAULT_INDEX"], given["UV_INDEX"]
    return {name: value for name, value in given.items() if value} | own


# uv itself.


def find_uv() -> str | None:
    """A uv that runs: ours, or the machine's."""
    for candidate in (str(TOOLS / "bin" / "uv"), shutil.which("uv")):
        if candidate and Path(candidate).exists():
            shown = subprocess.run([candidate, "--version"], capture_output=True, check=False)
            if shown.returncode == 0:
                return candidate
    return None


def fetch_uv() -> str:
    """uv in `.tools/`, by pip where there is one, else straight from the package index."""
    say("Fetching uv into .tools …")
    shutil.rmtree(TOOLS, ignore_errors=True)
    by_pip = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-warn-script-location", "--require-hashes", "--no-deps", "--only-binary=:all:"),
            *("--target", str(TOOLS), "-r", str(UV_REQUIREMENTS)),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = find_uv()
    if by_pip.returncode == 0 and found:
        return found
    if "No module named pip" not in by_pip.stderr:
        say(by_pip.stderr.strip())
    try:
        download_uv()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BootstrapError(
            f"uv could not be fetched: {error}\n"
            "Check the network and pip's settings (PIP_INDEX_URL, PIP_CERT, or a pip.conf), or "
            "install uv yourself (https://docs.astral.sh/uv/) so that it is on the PATH."
        ) from error
    found = find_uv()
    if not found:
        raise BootstrapError("The uv that was fetched does not run on this machine.")
    return found


def download_uv() -> None:
    """Take uv's wheel from the index that pip would use; its hash must be among the pinned ones."""
    text = UV_REQUIREMENTS.read_text()
    pinned = re.search(r"^uv==([\w.]+)", text, re.MULTILINE)
    if not pinned:
        raise ValueError(f"{UV_REQUIREMENTS} does not pin uv")
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", text))
    index = index_page()
    with urllib.request.urlopen(index, timeout=60) as answer:  # noqa: S310 (the index pip would use)
        page = answer.read().decode()
        base = answer.geturl()
    name = re.compile(rf"/uv-{re.escape(pinned[1])}-py3-none-({wheel_platform()})\.whl")
    for link in re.findall(r'href="([^"]+)"', page):
        address = urllib.parse.urljoin(base, html.unescape(link))
        if not name.search(address):
            continue
        with urllib.request.urlopen(address, timeout=300) as answer:  # noqa: S310 (checked below)
            content = answer.read()
        if hashlib.sha256(content).hexdigest() not in hashes:
            raise ValueError(f"{address} is not the file that was pinned")
        unpack_uv(content)
        return
    raise ValueError(f"{index} has no uv {pinned[1]} for {platform.machine()}")


def index_page() -> str:
    return pip_settings().get("index-url", PYPI).strip().rstrip("/") + "/uv/"


def wheel_platform() -> str:
    """A pattern for the platform tags of wheels that run here."""
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return rf"macosx_\d+_\d+_({machine}|universal2)"
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return rf"[\w.]*{libc}[\w.]*{machine}[\w.]*"


def unpack_uv(wheel: bytes) -> None:
    TOOLS.mkdir(exist_ok=True)
    archive = TOOLS / "uv.whl"
    archive.write_bytes(wheel)
    (TOOLS / "bin").mkdir(exist_ok=True)
    with zipfile.ZipFile(archive) as files:
        member = next(name for name in files.namelist() if name.endswith("/scripts/uv"))
        target = TOOLS / "bin" / "uv"
        target.write_bytes(files.read(member))
        target.chmod(0o755)
    archive.unlink()


if __name__ == "__main__":
    sys.exit(main())
