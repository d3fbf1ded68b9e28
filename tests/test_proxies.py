"""Proxies and certificates of the environment: which URL needs which, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from invokeai_external.cli.entry_point import main
from invokeai_external.errors import SettingsError
from invokeai_external.transport.proxies import Proxies, Proxy

from .support.programs import OPENAI, Result
from .support.raw_server import HOLD, RawServer, head

NO_PROXY = (
    "localhost, fd00::/8,10.1.0.0/16,.corp.example,*.lan,gw.example:8443,https://only-tls.example,192.168.7.9,"
    "[2001:db8::7],nonsense::/999,:,,trailing.example."
)
SAID = {
    "HTTPS_PROXY": [
        "ftp://proxy.invalid",
        "http://proxy.invalid:x",
        "http://proxy.invalid:99999",
        "socks4://p:1",
        "http://proxy.invalid:0",
    ],
    "ALL_PROXY": ["http://:3128", "http://[::1"],
    "SSL_CERT_FILE": ["/is/not/there", __file__, "/"],
    "SSL_CERT_DIR": ["/is/not/there"],
    "SSLKEYLOGFILE": ["/is/not/there"],
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    # No test connects to it.
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://provider.invalid/v1")

    def run_main(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_main


@pytest.mark.parametrize(
    ("url", "is_direct"),
    [
        ("https://provider.example/v1", False),
        ("https://localhost:9393/v1", True),
        ("http://127.0.0.1:9393/v1", True),
        ("http://[::1]:9393/v1", True),
        ("http://[fd12::7]/v1", True),
        ("http://[fe80::7]/v1", False),
        ("http://10.1.255.3:8000/v1", True),
        ("http://10.2.0.1/v1", False),
        ("https://corp.example/v1", True),
        ("https://gw.corp.example/v1", True),
        ("https://notcorp.example/v1", False),
        ("https://box.lan/v1", True),
        ("https://gw.example:8443/v1", True),
        ("https://gw.example/v1", False),
        ("https://only-tls.example/v1", True),
        ("http://only-tls.example/v1", False),
        ("http://192.168.7.9:80/v1", True),
        ("http://192.168.7.90/v1", False),
        ("http://[2001:db8::7]/v1", True),
        ("https://TRAILING.example/v1", True),
    ],
)
def test_hosts_that_need_no_proxy(url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", NO_PROXY)
    assert (Proxies.of_system().for_url(httpx.URL(url)) is None) == is_direct


def test_a_star_turns_all_proxies_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert Proxies.of_system().for_url(httpx.URL("https://provider.example")) is None


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ('"http://proxy.example:3128"', "http://proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example"),
        ("http://user:secret@proxy.example:3128/", "http://user:secret@proxy.example:3128/"),
    ],
)
def test_how_a_proxy_may_be_written(written: str, understood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", written)
    monkeypatch.setenv("HTTP_PROXY", "http://other.example")
    found = Proxies.of_system().for_url(httpx.URL("https://provider.example"))
    assert found == Proxy(understood, "https_proxy")
    assert "secret" not in f"{found}{found.address}"


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in SAID.items() for value in values])
def test_what_cannot_be_used_is_named_and_nothing_is_sent(
    variable: str, value: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, value)
    (tmp_path / "root").mkdir()
    generate = ("generate", "a fox", "--model", OPENAI, "--out", tmp_path / "out")
    result = run("keys", "test", "openai")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {variable} ")
    # The path of a file is shown; a proxy may contain a password.
    assert (value in result.stderr) == variable.startswith("SSL")
    error = run(*generate, "-n", 2, "--json").json["error"]
    assert (error["code"], error["message"].startswith(f"{variable} ")) == ("settings", True)
    # Nothing was reserved, so nothing can have been charged.
    assert run("spend", "show", "--json").json == {"calls": []}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_a_pipe_in_place_of_certificates_is_an_error(
    variable: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv(variable, str(tmp_path / "pipe"))
    error = run("keys", "test", "openai", "--json").json["error"]
    assert (error["code"], error["message"].startswith(f"{variable} ")) == ("settings", True)


def test_certificates_that_are_not_installed_are_an_error(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "cacert.pem"))
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://provider.invalid/v1")
    error = run("keys", "test", "openai", "--json").json["error"]
    assert (error["code"], "certifi" in error["message"]) == ("settings", True)


@pytest.mark.parametrize("variable", SAID)
@pytest.mark.parametrize("option", ["--dry-run", "--sandbox"])
def test_a_run_that_sends_nothing_needs_neither_proxy_nor_certificates(
    variable: str, option: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, SAID[variable][0])
    size = ("--size", "512x512")
    assert run("generate", "a fox", "--model", OPENAI, "--out", tmp_path / "out", *size, option).code == 0


def test_a_broken_proxy_of_another_scheme_does_not_matter(
    sandbox_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.invalid")
    monkeypatch.setenv("ALL_PROXY", "ftp://proxy.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", "/is/not/there")
    assert main(["keys", "test", "openai"]) == 0


def test_a_socks_proxy_without_its_package_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr("invokeai_external.transport.proxies.find_spec", lambda _: None)
    with pytest.raises(SettingsError) as caught:
        Proxies.of_system().for_url(httpx.URL("https://provider.example"))
    assert "ALL_PROXY" in caught.value.message
    assert "httpx[socks]" in (caught.value.hint or "")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_socks_proxy_is_used(
    scheme: str, sandbox_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("socksio")
    with _SocksServer(sandbox_url) as server:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{server.port}")
        # Only this machine is reached without a proxy.
        monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "http://10.255.255.1/openai/v1")
        assert main(["keys", "test", "openai", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["listed"]
    assert server.targets == ["10.255.255.1:80"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_dead_proxy_is_named_and_not_the_far_host(scheme: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if scheme == "socks5":
        pytest.importorskip("socksio")
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:secret@127.0.0.1:1")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://provider.example/v1")
    result = run("keys", "test", "openai")
    assert result.code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "HTTPS_PROXY" in result.stderr
    assert "secret" not in result.stderr
    assert "provider.example" not in result.stderr


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_to_connect_is_named(status: int, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(head(status, content_length=0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://provider.example/v1")
        result = run("keys", "test", "openai")
    for fact in (proxy.url.removeprefix("http://"), "provider.example", f"HTTP {status}", "HTTPS_PROXY"):
        assert fact in result.stderr
    assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_a_proxy_that_does_not_speak_http_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(b"hello\r\n\r\n", HOLD) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        result = run("keys", "test", "openai")
    assert "HTTPS_PROXY" in result.stderr
    assert "provider.invalid" not in result.stderr


class _Socks(socketserver.StreamRequestHandler):
    """A SOCKS5 server (RFC 1928) without authentication that connects to the sandbox, whatever it is asked for."""

    def handle(self) -> None:
        assert isinstance(self.server, _SocksServer)
        _, count = self.rfile.read(2)
        self.rfile.read(count)
        self.wfile.write(b"\x05\x00")
        *_, kind = self.rfile.read(4)
        address = self.rfile.read(4 if kind == 1 else self.rfile.read(1)[0])
        host = ".".join(map(str, address)) if kind == 1 else address.decode()
        self.server.targets.append(f"{host}:{int.from_bytes(self.rfile.read(2))}")
        with socket.create_connection(("127.0.0.1", self.server.port_of_sandbox)) as sandbox:
            self.wfile.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            back = threading.Thread(target=_copy, args=[sandbox, self.connection])
            back.start()
            _copy(self.connection, sandbox)
            back.join()


class _SocksServer(socketserver.ThreadingTCPServer):
    """Runs in a thread while its context is open."""

    def __init__(self, sandbox_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Socks)
        self.targets: list[str] = []
        self.port_of_sandbox = httpx.URL(sandbox_url).port or 0
        self.port = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
