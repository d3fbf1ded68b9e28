"""Which key goes to which base URL: every combination of what the places hold, and never another place's key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import pytest

from invokeai_external.providers import catalog
from invokeai_external.settings.keys import Given, Place, environment_place, pair, usual_place
from invokeai_external.settings.settings import Credentials, credentials_in_invoke, load_settings

OWN = "https://api.openai.com/v1"
OPENAI = catalog.page("openai").provider
ACME = OPENAI.model_copy(update={"id": "acme", "key_env": (), "base_url_env": None})
KEY, URL = "INVOKEAI_EXTERNAL_OPENAI_API_KEY", "INVOKEAI_EXTERNAL_OPENAI_BASE_URL"

# What a place holds: nothing, a key, a base URL, or both.
SAYS = ("", "K", "A", "KA")

# By what environment, file and usual variables say: whose key is used, and whose base URL ("own" for the provider's).
# "!" stands for a key for another base URL.
TABLE: Mapping[tuple[str, str, str], tuple[str, str]] = {
    ("", "", ""): ("", "own"),
    ("", "", "K"): ("usual", "own"),
    ("", "", "A"): ("", "own"),
    ("", "", "KA"): ("usual", "usual"),
    ("", "K", ""): ("file", "own"),
    ("", "K", "K"): ("file", "own"),
    ("", "K", "A"): ("file", "own"),
    ("", "K", "KA"): ("file", "own"),
    ("", "A", ""): ("", "file"),
    ("", "A", "K"): ("!usual", "file"),
    ("", "A", "A"): ("", "file"),
    ("", "A", "KA"): ("!usual", "file"),
    ("", "KA", ""): ("file", "file"),
    ("", "KA", "K"): ("file", "file"),
    ("", "KA", "A"): ("file", "file"),
    ("", "KA", "KA"): ("file", "file"),
    ("K", "", ""): ("environment", "own"),
    ("K", "", "K"): ("environment", "own"),
    ("K", "", "A"): ("environment", "own"),
    ("K", "", "KA"): ("environment", "own"),
    ("K", "K", ""): ("environment", "own"),
    ("K", "K", "K"): ("environment", "own"),
    ("K", "K", "A"): ("environment", "own"),
    ("K", "K", "KA"): ("environment", "own"),
    ("K", "A", ""): ("!environment", "file"),
    ("K", "A", "K"): ("!environment", "file"),
    ("K", "A", "A"): ("!environment", "file"),
    ("K", "A", "KA"): ("!environment", "file"),
    ("K", "KA", ""): ("file", "file"),
    ("K", "KA", "K"): ("file", "file"),
    ("K", "KA", "A"): ("file", "file"),
    ("K", "KA", "KA"): ("file", "file"),
    ("A", "", ""): ("", "environment"),
    ("A", "", "K"): ("!usual", "environment"),
    ("A", "", "A"): ("", "environment"),
    ("A", "", "KA"): ("!usual", "environment"),
    ("A", "K", ""): ("!file", "environment"),
    ("A", "K", "K"): ("!file", "environment"),
    ("A", "K", "A"): ("!file", "environment"),
    ("A", "K", "KA"): ("!file", "environment"),
    ("A", "A", ""): ("", "environment"),
    ("A", "A", "K"): ("!usual", "environment"),
    ("A", "A", "A"): ("", "environment"),
    ("A", "A", "KA"): ("!usual", "environment"),
    ("A", "KA", ""): ("!file", "environment"),
    ("A", "KA", "K"): ("!file", "environment"),
    ("A", "KA", "A"): ("!file", "environment"),
    ("A", "KA", "KA"): ("!file", "environment"),
    **{("KA", file, usual): ("environment", "environment") for file, usual in product(SAYS, SAYS)},
}

URLS = {place: f"https://{place}.example/v1" for place in ("environment", "file", "usual")}


def named(says: Iterable[str]) -> str:
    return "-".join(what or "0" for what in says)


def key_of(found: Credentials) -> str | None:
    return found.api_key.get_secret_value() if found.api_key else None


def sources(root: Path) -> dict[str, tuple[str, str]]:
    """The names of each place's key and base URL."""
    file = str(root / "api_keys.yaml")
    return {"environment": (KEY, URL), "file": (file, file), "usual": ("OPENAI_API_KEY", "OPENAI_BASE_URL")}


def given(root: Path, says: tuple[str, str, str], urls: Mapping[str, str]) -> dict[str, str]:
    """Write the file; gives the environment."""
    environ: dict[str, str] = {}
    lines = []
    for place, what in zip(("environment", "file", "usual"), says, strict=True):
        key, url = sources(root)[place]
        if place == "file":
            lines += [f"external_openai_api_key: key-of-{place}\n"] * ("K" in what)
            lines += [f"external_openai_base_url: {urls[place]}\n"] * ("A" in what)
        else:
            environ |= {key: f"key-of-{place}"} if "K" in what else {}
            environ |= {url: urls[place]} if "A" in what else {}
    (root / "api_keys.yaml").write_text("".join(lines))
    (root / "api_keys.yaml").chmod(0o600)
    return environ


def test_the_table_has_every_combination() -> None:
    assert set(TABLE) == set(product(SAYS, SAYS, SAYS))


@pytest.mark.parametrize(("says", "expected"), TABLE.items(), ids=map(named, TABLE))
def test_a_key_goes_to_the_base_url_that_it_was_given_for(
    tmp_path: Path, says: tuple[str, str, str], expected: tuple[str, str]
) -> None:
    environ = given(tmp_path, says, URLS)
    found = load_settings(tmp_path, environ).credentials["openai"]
    key, url = expected
    names = sources(tmp_path)
    assert found.base_url == URLS.get(url)
    assert found.base_url_source == (names[url][1] if url in names else None)
    if key.startswith("!") or not key:
        assert (key_of(found), found.source) == (None, None)
        assert found.unpaired == (names[key[1:]][0] if key else None)
    else:
        assert (key_of(found), found.source, found.unpaired) == (f"key-of-{key}", names[key][0], None)
    # All that was given is used or named.
    said = {
        name
        for place, what in zip(names, says, strict=True)
        for name, letter in zip(names[place], "KA", strict=True)
        if letter in what
    }
    assert said == {*found.unused, *filter(None, (found.source, found.base_url_source))}


@pytest.mark.parametrize("says", TABLE, ids=named)
def test_places_with_the_same_base_url_share_a_key(tmp_path: Path, says: tuple[str, str, str]) -> None:
    """One of them with a slash at its end. The first key among them is used."""
    same = dict.fromkeys(URLS, "https://same.example/v1") | {"file": "https://same.example/v1/"}
    environ = given(tmp_path, says, same)
    found = load_settings(tmp_path, environ).credentials["openai"]
    if "A" in says[0] + says[1]:
        first = next((p for p, what in zip(URLS, says, strict=True) if what == "KA"), None)
        assert key_of(found) == (f"key-of-{first}" if first else None)


@pytest.mark.parametrize("says", TABLE, ids=named)
def test_a_key_without_a_base_url_is_for_the_providers_own_even_if_another_place_names_that(
    tmp_path: Path, says: tuple[str, str, str]
) -> None:
    own = dict.fromkeys(URLS, "https://API.openai.com:443") | {"file": f"{OWN}/"}
    environ = given(tmp_path, says, own)
    found = load_settings(tmp_path, environ).credentials["openai"]
    assert found.unpaired is None or "A" in "".join(says)
    if says in (("K", "A", ""), ("A", "K", ""), ("A", "", "K"), ("", "A", "K")):
        assert key_of(found) is not None


def test_in_invoke_the_usual_variables_do_not_count(tmp_path: Path) -> None:
    environ = given(tmp_path, ("", "A", "KA"), URLS)
    found = load_settings(tmp_path, environ, usual_variables=False).credentials["openai"]
    assert found == Credentials(base_url=URLS["file"], base_url_source=str(tmp_path / "api_keys.yaml"), unpaired=None)


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://gateway.example", "https://gateway.example"),
        # The package google-genai appends the version to any URL.
        ("https://gateway.example/gemini/", "https://gateway.example/gemini/v1beta"),
        ("https://gateway.example/gemini/v1", "https://gateway.example/gemini/v1"),
        ("https://[", "https://["),
    ],
)
@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_google_s_variables_are_a_pair(tmp_path: Path, variable: str, written: str, used: str) -> None:
    environ = {variable: "k", "GOOGLE_GEMINI_BASE_URL": written}
    found = load_settings(tmp_path, environ).credentials["gemini"]
    assert (key_of(found), found.base_url, found.source) == ("k", used, variable)


def test_a_provider_without_usual_variables_has_its_own_place_only() -> None:
    environ = {"INVOKEAI_EXTERNAL_ACME_API_KEY": "k", "ACME_API_KEY": "other"}
    found = pair([environment_place("acme", environ)], usual_place(ACME, environ))
    assert (key_of(found), found.source) == ("k", "INVOKEAI_EXTERNAL_ACME_API_KEY")


def test_no_key_shows_when_a_place_is_printed() -> None:
    place = Place(Given("sk-secret", "a test"))
    assert "sk-secret" not in f"{place!r} {pair([place])!r}"


# In Invoke, which mixes the places itself: a value of the environment wins over the file's at its start.


def live(says: tuple[str, str]) -> tuple[str | None, str | None]:
    """The key and the base URL that Invoke holds, from the environment and the file."""
    environment, file = says
    key = "environment" if "K" in environment else "file" if "K" in file else None
    url = "environment" if "A" in environment else "file" if "A" in file else None
    return f"key-of-{key}" if key else None, URLS[url] if url else None


@pytest.mark.parametrize(
    "says", list(product(SAYS, SAYS)), ids=["-".join(s or "0" for s in p) for p in product(SAYS, SAYS)]
)
def test_in_invoke_a_key_goes_where_it_goes_on_the_command_line(tmp_path: Path, says: tuple[str, str]) -> None:
    environ = given(tmp_path, (*says, ""), URLS)
    outside = load_settings(tmp_path, environ, usual_variables=False).credentials["openai"]
    inside = credentials_in_invoke(OPENAI, *live(says), tmp_path, environ)
    assert (key_of(inside), inside.base_url) == (key_of(outside), outside.base_url)
    assert (inside.unpaired is None) == (outside.unpaired is None)


def test_in_invoke_what_its_page_saved_counts_at_once(tmp_path: Path) -> None:
    """The page changes what Invoke holds and the file; the environment stays."""
    environ = given(tmp_path, ("KA", "KA", ""), URLS)

    def held(key: str | None, url: str | None) -> tuple[str | None, str | None, bool]:
        found = credentials_in_invoke(OPENAI, key, url, tmp_path, environ)
        return key_of(found), found.base_url, found.unpaired is not None

    assert held("new", "https://new.example") == ("new", "https://new.example", False)
    # A new key, saved without the base URL, which is the environment's.
    assert held("new", URLS["environment"]) == (None, URLS["environment"], True)
    # Both were saved; the environment has the same base URL.
    (tmp_path / "api_keys.yaml").write_text(
        f"external_openai_api_key: new\nexternal_openai_base_url: {URLS['environment']}\n"
    )
    assert held("new", URLS["environment"]) == ("new", URLS["environment"], False)
    assert held(None, None) == (None, None, False)
    assert held(None, URLS["environment"]) == (None, URLS["environment"], False)


def test_in_invoke_variables_count_in_lower_case_as_well(tmp_path: Path) -> None:
    environ = {KEY.lower(): "of-environment"}
    found = credentials_in_invoke(OPENAI, "of-environment", URLS["file"], tmp_path, environ)
    assert (found.api_key, found.unpaired) == (None, KEY)


def test_in_invoke_a_file_that_broke_meanwhile_pairs_nothing(tmp_path: Path) -> None:
    (tmp_path / "api_keys.yaml").write_text("a: [")
    found = credentials_in_invoke(OPENAI, "k", URLS["file"], tmp_path, {KEY: "k"})
    assert (found.api_key, found.unpaired) == (None, KEY)
