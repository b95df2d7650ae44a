"""Making the environment: how pip's settings reach uv, and what is refused."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.quickstart import bootstrap
from config.quickstart.layout import ROOT

pytestmark = pytest.mark.once


@pytest.fixture
def pip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip.conf that alone counts."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "pip.conf"
    path.write_text("")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    return path


def test_uv_environment__pip_names_a_mirror__uv_uses_it(pip_file: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    pip_file.write_text(
        "[global]\n"
        "index-url = https://mirror.example/simple\n"
        "extra-index-url = file:///nowhere/simple\n  https://second.example/simple\n"
        f"find-links = {wheels} /nowhere/wheels\n"
        f"cert = {pip_file}\n"
    )
    environment = bootstrap.uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert "file:///nowhere/simple" not in environment["UV_INDEX"].split()
    assert "https://second.example/simple" in environment["UV_INDEX"].split()
    assert environment["UV_FIND_LINKS"] == str(wheels)
    assert environment["SSL_CERT_FILE"] == str(pip_file)
    assert environment["UV_PYTHON_DOWNLOADS"] == "never"


def test_uv_environment__variables_are_set__win_over_pips_files(
    pip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_file.write_text("[global]\nindex-url = https://file.example/simple\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable.example/simple")
    assert bootstrap.uv_environment()["UV_DEFAULT_INDEX"] == "https://variable.example/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert bootstrap.uv_environment()["UV_DEFAULT_INDEX"] == "https://own.example/simple"


def index_with(tmp_path: Path, content: bytes) -> str:
    """A package index on disk that offers `content` as the pinned uv for every platform."""
    version = (ROOT / "requirements" / "tools.txt").read_text().split()[0].removeprefix("uv==")
    folder = tmp_path / "simple" / "uv"
    folder.mkdir(parents=True)
    links = []
    for platform in ("manylinux_2_17", "musllinux_1_1", "macosx_11_0"):
        for machine in ("x86_64", "aarch64", "arm64"):
            name = f"uv-{version}-py3-none-{platform}_{machine}.whl"
            (folder / name).write_bytes(content)
            links.append(f'<a href="{(folder / name).as_uri()}#sha256=x">{name}</a>')
    page = folder / "index.html"
    page.write_text("\n".join(links))
    return page.as_uri()


def test_download_uv__content_is_not_what_was_pinned__is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "TOOLS", tmp_path / "tools")
    page = index_with(tmp_path, b"something else")
    monkeypatch.setattr(bootstrap, "index_page", lambda: page)
    with pytest.raises(ValueError, match="not the file that was pinned"):
        bootstrap.download_uv()
    assert not (tmp_path / "tools").exists()


def test_download_uv__content_is_the_pinned_one__is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.data/scripts/uv", "#!/bin/sh\necho uv 1\n")
    pinned = tmp_path / "tools.txt"
    digest = hashlib.sha256(wheel.getvalue()).hexdigest()
    text = (ROOT / "requirements" / "tools.txt").read_text().split()[0]
    pinned.write_text(f"{text} \\\n    --hash=sha256:{digest}\n")
    monkeypatch.setattr(bootstrap, "UV_REQUIREMENTS", pinned)
    monkeypatch.setattr(bootstrap, "TOOLS", tmp_path / "tools")
    page = index_with(tmp_path, wheel.getvalue())
    monkeypatch.setattr(bootstrap, "index_page", lambda: page)
    bootstrap.download_uv()
    shown = subprocess.run([tmp_path / "tools" / "bin" / "uv"], capture_output=True, text=True)
    assert shown.stdout == "uv 1\n"


def test_bootstrap__imports__are_of_the_standard_library_alone() -> None:
    # -S: no site-packages; -I: nothing from the environment.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({bootstrap.__file__!r})"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_install__requirements_unchanged__does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text(bootstrap.fingerprint())
    monkeypatch.setattr(bootstrap, "STAMP", stamp)
    monkeypatch.setattr(bootstrap, "works", lambda python: True)
    called: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", lambda command, environment: called.append(command))
    bootstrap.install()
    assert called == []
