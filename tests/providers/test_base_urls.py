"""Base URLs as people write them: brought to one form, or refused before a key could travel over them."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invokeai_external.adapters.base import Adapter
from invokeai_external.adapters.base_url import is_private_host, is_public_host, normalise_base_url
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import NotConfiguredError
from invokeai_external.providers import catalog

from .conftest import make_call

OPENAI, GEMINI = OpenAIImagesAdapter(catalog.page("openai").provider), GeminiAdapter(catalog.page("gemini").provider)


@pytest.mark.parametrize(
    ("provider", "written", "expected"),
    [
        (OPENAI, "https://api.openai.com", "https://api.openai.com/v1"),
        (OPENAI, "https://api.openai.com/", "https://api.openai.com/v1"),
        (OPENAI, "https://api.openai.com/v1", "https://api.openai.com/v1"),
        (OPENAI, " https://api.openai.com/v1//\n", "https://api.openai.com/v1"),
        (OPENAI, "https://api.openai.com//", "https://api.openai.com/v1"),
        (OPENAI, "HTTPS://Proxy.Example:8443/openai/", "https://Proxy.Example:8443/openai"),
        (OPENAI, "https://api.deepinfra.com/v1/openai", "https://api.deepinfra.com/v1/openai"),
        (
            OPENAI,
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            "https://generativelanguage.googleapis.com/v1beta/openai",
        ),
        (OPENAI, "https://proxy.example/v1/images/generations", "https://proxy.example/v1"),
        (OPENAI, "https://proxy.example/v1/images/edits/", "https://proxy.example/v1"),
        (OPENAI, "https://proxy.example/openai/models", "https://proxy.example/openai"),
        (OPENAI, "https://proxy.example/images", "https://proxy.example/images"),
        (OPENAI, "https://v1", "https://v1/v1"),
        (GEMINI, "https://generativelanguage.googleapis.com", "https://generativelanguage.googleapis.com/v1beta"),
        (GEMINI, "https://proxy.example/v1beta/", "https://proxy.example/v1beta"),
        (GEMINI, "https://proxy.example/v1", "https://proxy.example/v1"),
        (GEMINI, "https://proxy.example/v1alpha", "https://proxy.example/v1alpha"),
        (GEMINI, "https://proxy.example/vertex", "https://proxy.example/vertex"),
        (GEMINI, "http://localhost:9393/gemini", "http://localhost:9393/gemini"),
        (GEMINI, "https://proxy.example/v1beta/models", "https://proxy.example/v1beta"),
        (GEMINI, "https://proxy.example/v1beta/models/gemini-3-pro-image", "https://proxy.example/v1beta"),
        (GEMINI, "https://proxy.example/v1/models/gemini-3-pro-image:generateContent", "https://proxy.example/v1"),
        (GEMINI, "https://proxy.example/v1beta/models/x:streamGenerateContent", "https://proxy.example/v1beta"),
        (GEMINI, "http://[::1]:9393/v1", "http://[::1]:9393/v1"),
        (GEMINI, "https://[2001:4860:4860::8888]", "https://[2001:4860:4860::8888]/v1beta"),
    ],
)
def test_a_version_is_appended_to_a_base_url_without_a_path(provider: Adapter, written: str, expected: str) -> None:
    assert normalise_base_url(written, provider) == expected
    assert normalise_base_url(expected, provider) == expected


def test_an_endpoint_without_a_version_is_called_as_it_was_written() -> None:
    base_url = normalise_base_url("https://proxy.example/images/generations", OPENAI)
    assert OPENAI.build(make_call("openai/gpt-image-2"), base_url).url == "https://proxy.example/images/generations"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "10.0.0.5", "172.16.0.1", "192.168.1.20",
                                  "169.254.1.1", "[fe80::1]", "[fd00::7]", "localhost", "gateway", "gpu_box",
                                  "nas.local", "a.localhost", "host.docker.internal", "[::ffff:10.0.0.5]"])  # fmt: skip
def test_plain_http_is_accepted_for_this_machine_and_this_network(host: str) -> None:
    assert normalise_base_url(f"http://{host}:8080", OPENAI) == f"http://{host}:8080/v1"


@pytest.mark.parametrize("host", ["api.openai.com", "8.8.8.8", "172.32.0.1", "[2001:4860:4860::8888]",
                                  "[::ffff:8.8.8.8]", "134744072", "0x08080808", "8.526344", "local.example",
                                  "mylocalhost.com"])  # fmt: skip
def test_plain_http_to_a_public_host_is_refused(host: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        normalise_base_url(f"http://{host}:8080/v1", OPENAI)
    assert "plain http" in caught.value.message
    assert host not in caught.value.message


NO_HOST = "https:// and contain a host name"
MUST_NOT_CONTAIN = "user name, password, query or fragment"
NOT_A_URL = "not a valid URL"
SPACES = "spaces or line breaks"
ASCII_HOST = "ASCII"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", NO_HOST),
        ("proxy.example/v1", NO_HOST),
        ("ftp://proxy.example", NO_HOST),
        ("https:///v1", NO_HOST),
        ("https://name:secret@proxy.example", MUST_NOT_CONTAIN),
        ("https://secret@proxy.example", MUST_NOT_CONTAIN),
        ("https://@proxy.example", MUST_NOT_CONTAIN),
        ("https://proxy.example/v1?key=secret", MUST_NOT_CONTAIN),
        ("https://proxy.example/#secret", MUST_NOT_CONTAIN),
        ("https://proxy.example:https", NOT_A_URL),
        ("https://proxy.example:70000", NOT_A_URL),
        ("https://[::1", NOT_A_URL),
        ("https://proxy example", SPACES),
        (f"https://proxy.example/{'v' * 100_000}", "characters"),
        ("https://proxy.example/v\t1", SPACES),
        ("https://pr\u00f6xy.example", ASCII_HOST),
        ("https://proxy..example", ASCII_HOST),
        ("https://[v1.example]", ASCII_HOST),
    ],
)
def test_the_error_of_a_base_url_says_why_and_never_quotes_it(written: str, reason: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        normalise_base_url(written, GEMINI, "OPENAI_BASE_URL")
    error = caught.value
    assert (error.code, error.provider) == ("not_configured", "gemini")
    assert reason in error.message
    assert not any(part in str(error) for part in ("secret", "proxy"))
    assert error.remedy is not None
    assert (error.remedy.action, error.remedy.provider) == ("fix_base_url", "gemini")
    assert (error.remedy.url, error.remedy.source) == (GEMINI.provider.base_url, "OPENAI_BASE_URL")
    names = (str(GEMINI.provider.base_url), "OPENAI_BASE_URL in the environment")
    assert [name for name in names if name not in error.remedy.text] == []


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (None, ["providers.gemini.base_url in invokeai_external.yaml"]),
        ("/root/api_keys.yaml", ["external_gemini_base_url in /root/api_keys.yaml"]),
        ("GOOGLE_GEMINI_BASE_URL", ["GOOGLE_GEMINI_BASE_URL in the environment"]),
    ],
)
def test_the_remedy_names_the_setting_that_is_in_use(source: str | None, named: list[str]) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        normalise_base_url("ftp://x", GEMINI, source)
    assert caught.value.remedy
    text = caught.value.remedy.text
    assert [name for name in named if name not in text] == []
    assert text.count("base_url") + text.count("BASE_URL") == len(named)


@settings(deadline=None)
@example("https://a/models/models")
@given(
    st.text()
    | st.builds(
        "{}://{}{}".format,
        st.sampled_from(["http", "https", "HTTPS"]),
        st.text(st.sampled_from("aZ0.-_:[]%@x/ \t\u00e9\u3002"), max_size=12),
        st.text(max_size=8),
    )
)
def test_a_request_to_an_accepted_base_url_goes_to_the_host_that_was_checked(written: str) -> None:
    try:
        base_url = normalise_base_url(written, OPENAI)
    except NotConfiguredError:
        return
    url = httpx.URL(OPENAI.build(make_call("openai/gpt-image-2"), base_url).url)
    checked = urlsplit(base_url)
    assert url.host == checked.hostname
    assert url.port in (checked.port, None)
    assert url.scheme == "https" or is_private_host(url.host)
    assert url.path.endswith("/images/generations")
    assert not url.userinfo
    assert not url.query
    if checked.path:
        assert normalise_base_url(f"{base_url}/images/edits", OPENAI) == base_url


@pytest.mark.parametrize(
    "host", ["example.com", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "bücher.example", "a.b."]
)
def test_a_public_host(host: str) -> None:
    assert is_public_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "printer", "a.localhost", "box.local.", "metadata.google.internal"),
        *("router.lan", "nas.home.arpa", "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
        # Other ways to write 127.0.0.1.
        *("2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.1", "0", "127\u30020\u30020\u30021"),
        *("\uff11\uff12\uff17.0.0.1", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3"),
    ],
)
def test_a_host_that_is_not_public(host: str) -> None:
    assert not is_public_host(host)
