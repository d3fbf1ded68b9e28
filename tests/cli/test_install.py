"""``install`` and ``doctor`` on an Invoke root, without an Invoke."""

from __future__ import annotations

import errno
import json
import runpy
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from invokeai_external.cli.entry_point import main
from invokeai_external.version import VERSION

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "invokeai.yaml").write_text("schema_version: 4.0.2\n")
    return folder


def test_the_plugin_is_laid_out_like_a_clone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--root", str(root)]) == 0
    plugin = root / "nodes" / "invokeai_external"
    assert (plugin / "__init__.py").read_text() == (REPOSITORY / "__init__.py").read_text()
    ours = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "invokeai_external").rglob("*.*") if path.is_file()}
    copied = {path.relative_to(plugin) for path in plugin.rglob("*.*") if path.is_file()}
    assert copied == {path for path in ours if "__pycache__" not in path.parts} | {Path("__init__.py")}
    assert [path.name for path in (root / "nodes").iterdir()] == ["invokeai_external"]
    assert str(plugin) in capsys.readouterr().err


def test_an_older_copy_is_replaced_whole(root: Path) -> None:
    stale = root / "nodes" / "invokeai_external" / "invokeai_external" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("raise SystemExit")
    assert main(["install", "--root", str(root)]) == 0
    assert not stale.exists()
    assert runpy.run_path(str(stale.parent / "version.py"))["VERSION"] == VERSION


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_is_not_a_copy_of_the_plugin_is_not_replaced(root: Path, tmp_path: Path, kind: str) -> None:
    target, theirs = root / "nodes" / "invokeai_external", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "node.py").write_text("mine")
    target.parent.mkdir()
    if kind == "folder":
        theirs.rename(target)
    elif kind == "link":
        target.symlink_to(theirs)
    else:
        target.write_text("mine")
    assert main(["install", "--root", str(root)]) == 2
    assert (target.read_text() if kind == "file" else (target / "node.py").read_text()) == "mine"


def test_a_full_disk_is_reported_as_the_reason(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path, **_: object) -> None:
        # As shutil reports the files that it could not copy.
        raise shutil.Error([(source, target, str(OSError(errno.ENOSPC, "No space left on device", "file")))])

    monkeypatch.setattr("shutil.copytree", full)
    assert main(["install", "--root", str(root)]) == 2
    assert "No space left on device" in capsys.readouterr().err


def failing_renames(monkeypatch: pytest.MonkeyPatch, *which: int) -> None:
    """Make the renames with these numbers fail, counted from 1."""
    count = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count in which:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)


def test_a_failed_install_leaves_the_old_plugin(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = root / "nodes" / "invokeai_external" / "invokeai_external" / "version.py"
    old.parent.mkdir(parents=True)
    old.write_text('VERSION = "0.0.1"\n')
    failing_renames(monkeypatch, 2)
    assert main(["install", "--root", str(root)]) == 2
    assert "Input/output error" in capsys.readouterr().err
    assert old.read_text() == 'VERSION = "0.0.1"\n'
    assert [path.name for path in (root / "nodes").iterdir()] == ["invokeai_external"]


def test_an_old_plugin_that_cannot_be_put_back_is_not_deleted(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_copy(root, "invokeai_external", "0.0.1")
    failing_renames(monkeypatch, 2, 3)
    assert main(["install", "--root", str(root)]) == 2
    [work] = (root / "nodes").iterdir()
    assert str(work / "old") in capsys.readouterr().err
    assert "0.0.1" in (work / "old" / "invokeai_external" / "version.py").read_text()


def test_a_first_install_that_fails_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_renames(monkeypatch, 1)
    assert main(["install", "--root", str(root)]) == 2
    assert list((root / "nodes").iterdir()) == []


def test_the_doctor_says_how_to_set_a_key_that_is_missing(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["install", "--root", str(root)])
    assert main(["doctor", "--root", str(root)]) == 0
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    assert main(["doctor", "--root", str(root)]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ok     openai: no key")]
    assert line.endswith(shlex.join(["invokeai-external", "keys", "set", "openai", "--root", str(root)]))


def test_the_doctor_reports_a_key_for_another_base_url(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["install", "--root", str(root)])
    (root / "api_keys.yaml").write_text("external_openai_base_url: http://127.0.0.1:1/v1\n")
    (root / "api_keys.yaml").chmod(0o600)
    assert main(["doctor", "--root", str(root)]) == 2
    [shown] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY" in shown
    assert str(root / "api_keys.yaml") in shown


def test_a_problem_with_one_provider_does_not_hide_the_other(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["install", "--root", str(root)])
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY", "your-gemini-key")
    assert main(["doctor", "--root", str(root)]) == 2
    lines = capsys.readouterr().out.splitlines()
    [shown] = [line for line in lines if line.startswith("WRONG")]
    assert "INVOKEAI_EXTERNAL_GEMINI_API_KEY" in shown
    assert [line for line in lines if line.startswith("ok     openai: key from")]


def test_the_doctor_survives_an_invoke_yaml_that_is_not_yaml(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["install", "--root", str(root)])
    (root / "invokeai.yaml").write_text("a: " + "[" * 5_000)
    assert main(["doctor", "--root", str(root)]) == 0
    assert "http://127.0.0.1:9090" in capsys.readouterr().out


def test_a_git_clone_is_not_replaced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "nodes" / "invokeai_external" / ".git").mkdir(parents=True)
    assert main(["install", "--root", str(root)]) == 2
    assert f"git -C {root / 'nodes' / 'invokeai_external'} pull" in capsys.readouterr().err


def test_a_second_copy_is_not_made(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_copy(root, "a-fork")
    assert main(["install", "--root", str(root)]) == 2
    assert str(folder) in capsys.readouterr().err
    assert [path.name for path in (root / "nodes").iterdir()] == ["a-fork"]


def test_a_folder_that_is_not_a_root_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--root", str(tmp_path)]) == 2
    assert "invokeai.yaml" in capsys.readouterr().err


def test_the_doctor_finds_nothing_wrong_with_a_good_root(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["install", "--root", str(root)])
    assert main(["doctor", "--root", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "WRONG" not in shown
    assert VERSION in shown
    assert "openai: key from INVOKEAI_EXTERNAL_OPENAI_API_KEY; https://api.openai.com/v1" in shown


def test_the_doctor_says_what_is_wrong_and_how_to_fix_it(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in ("OPENAI", "GEMINI"):
        monkeypatch.delenv(f"INVOKEAI_EXTERNAL_{provider}_API_KEY")
    assert main(["doctor", "--root", str(root)]) == 2
    shown = capsys.readouterr().out
    install, keys = [line for line in shown.splitlines() if line.startswith("WRONG")]
    assert install.endswith(shlex.join(["invokeai-external", "install", "--root", str(root)]))
    assert "key" in keys
    (root / "invokeai_external.yaml").write_text("settings: {concurrency: 0}\n")
    (root / "nodes" / "invokeai_external" / "invokeai_external").mkdir(parents=True)
    (root / "nodes" / "invokeai_external" / "invokeai_external" / "version.py").write_text('VERSION = "0.0.1"\n')
    assert main(["doctor", "--root", str(root)]) == 2
    shown = capsys.readouterr().out
    assert "0.0.1" in shown
    assert "invokeai_external.yaml, line 1: settings.concurrency" in shown


def test_the_doctor_reads_only_the_variables_that_invoke_reads(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["install", "--root", str(root)])
    for provider in ("OPENAI", "GEMINI"):
        monkeypatch.delenv(f"INVOKEAI_EXTERNAL_{provider}_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-usual-variable")
    assert main(["doctor", "--root", str(root)]) == 2
    shown = capsys.readouterr().out
    assert "openai: no key (OPENAI_API_KEY" in shown
    assert shown.count("WRONG") == 1
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "1")
    assert main(["doctor", "--root", str(root)]) == 0


def put_copy(root: Path, name: str, version: str = VERSION) -> Path:
    """As much of a copy of the plugin as the doctor looks at, in a folder of the root's nodes."""
    folder = root / "nodes" / name
    (folder / "invokeai_external").mkdir(parents=True)
    (folder / "invokeai_external" / "version.py").write_text(f'VERSION = "{version}"\n')
    return folder


def test_the_doctor_finds_a_clone_of_another_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_copy(root, "a-fork")
    # Invoke skips these.
    put_copy(root, ".installing-it")
    put_copy(root, "_off")
    assert main(["doctor", "--root", str(root)]) == 0
    assert str(folder) in capsys.readouterr().out


def test_the_doctor_reports_an_old_clone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_copy(root, "a-fork", "0.0.1")
    assert main(["doctor", "--root", str(root)]) == 2
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("WRONG")]
    assert all(fact in line for fact in (str(folder), "0.0.1", VERSION))


def test_the_doctor_finds_a_second_copy(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [put_copy(root, "a-fork"), put_copy(root, "invokeai_external")]
    assert main(["doctor", "--root", str(root)]) == 2
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("WRONG")]
    assert all(str(folder) in line for folder in folders)


@contextmanager
def responding(body: bytes) -> Iterator[int]:
    """A server with the same response to every request; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/v1/app/version" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "code", "start", "version"),
    [
        (json.dumps({"version": "6.14.2"}), 0, "ok ", "6.14.2"),
        (json.dumps({"version": "6.9.0rc1"}), 2, "WRONG", "6.9.0rc1"),
        ("<html>", 0, "ok ", "not known"),
        ("[]", 0, "ok ", "not known"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_doctor_asks_the_running_invoke_for_its_version(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    body: str,
    code: int,
    start: str,
    version: str,
) -> None:
    put_copy(root, "invokeai_external")
    # Nothing listens there: a request over the proxy would fail.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with responding(body.encode()) as port:
        (root / "invokeai.yaml").write_text(f"schema_version: 4.0.2\nhost: {host}\nport: {port}\n")
        assert main(["doctor", "--root", str(root)]) == code
    [line] = [line for line in capsys.readouterr().out.splitlines() if f"http://127.0.0.1:{port}" in line]
    assert line.startswith(start)
    assert version in line


def test_the_doctor_reports_that_invoke_is_not_running(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_copy(root, "invokeai_external")
    with responding(b"") as port:
        (root / "invokeai.yaml").write_text(f"port: {port}\n")
    assert main(["doctor", "--root", str(root)]) == 0
    assert f"Invoke is not running at http://127.0.0.1:{port}" in capsys.readouterr().out


def test_the_doctor_reports_a_folder_that_is_not_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path)]) == 2
    assert "invokeai-external doctor --root INVOKE_ROOT" in capsys.readouterr().out
