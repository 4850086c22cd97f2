"""Cookies: what a client sends, and what a response sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trioweb.ground.http.cookies import format_cookie, parse_cookies
from trioweb.ground.http.headers import Headers

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~", min_size=1)


def sent(text: str) -> str:
    """What a header of UTF-8 looks like to an app: headers are Latin-1."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        ([], {}),
        ([""], {}),
        (["a=1; b=2"], {"a": "1", "b": "2"}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (["a=1;b=2;"], {"a": "1", "b": "2"}),
        (["a=long path; a=short path"], {"a": "long path"}),
        (["a=1", "a=2"], {"a": "1"}),
        ([" a = 1 "], {"a": "1"}),
        (["a=b=c=="], {"a": "b=c=="}),
        (["a="], {"a": ""}),
        (["lonely; a=1"], {"a": "1"}),
        (["=x; a=1"], {"a": "1"}),
        (["a=[1,2]{x}; b=2"], {"a": "[1,2]{x}", "b": "2"}),
        (['a="x y"'], {"a": "x y"}),
        (['a="x\\073\\"y\\\\"'], {"a": 'x;"y\\'}),
        (['a="'], {"a": '"'}),
        (["a:b/c=1; d=2"], {"a:b/c": "1", "d": "2"}),
        (["path=/x; expires=now; a=1"], {"path": "/x", "expires": "now", "a": "1"}),
        (["a=caf\xe9"], {"a": "caf\xe9"}),
        ([sent("a=größe; ключ=значение; b=2")], {"a": "größe", "ключ": "значение", "b": "2"}),
        ([sent("a=à; b=Å; c=\u00a0x\u2028")], {"a": "à", "b": "Å", "c": "\u00a0x\u2028"}),
        ([sent('a="🍪 x"; b=日本')], {"a": "🍪 x", "b": "日本"}),
        ([sent("a=ok €; b=") + "\xff\xfe; c=3"], {"a": "ok €", "b": "\xff\xfe", "c": "3"}),
        ([sent("a=€")[:-1] + "; " + sent("b=€")], {"a": "\xe2\x82", "b": "€"}),
        (["\xff=1; a=2"], {"\xff": "1", "a": "2"}),
        (["a=1", sent("a=€; b=€")], {"a": "1", "b": "€"}),
        ([sent("a=1; a=€")], {"a": "1"}),
        (["a=caf%C3%A9"], {"a": "caf%C3%A9"}),
        (['a="b" c; d="e', "f=\"\"; g=''"], {"a": '"b" c', "d": '"e', "f": "", "g": "''"}),
        (['a={"b":"c,d"}; e=1'], {"a": '{"b":"c,d"}', "e": "1"}),
        (["=a=b; ==; =; ;;a=1"], {"a": "1"}),
        (["a=1\t;\tb=2"], {"a": "1", "b": "2"}),
    ],
)
def test_parse(headers: list[str], cookies: dict[str, str]) -> None:
    """Pairs are read one by one, so that none takes others down; of a repeated name the first counts."""
    assert parse_cookies(headers) == cookies


@given(st.lists(st.text()))
@example(['a="\\'])
@example(['a="\\0"'])
def test_no_header_breaks_it(headers: list[str]) -> None:
    """Whatever a client sends, there are cookies or there are none."""
    for name, value in parse_cookies(headers).items():
        assert name == name.strip(" \t") != ""
        assert ";" not in name
        assert isinstance(value, str)


@pytest.mark.timeout(5)  # unquoting in quadratic time takes minutes
def test_a_long_value_is_read_in_one_go() -> None:
    """The time that a quoted value takes grows with its length and no faster."""
    value = '\\"' * 200_000
    assert parse_cookies([f'a="{value}"; b=2']) == {"a": '"' * 200_000, "b": "2"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "a=1; Path=/; SameSite=lax"),
        ({"max_age": 60}, "a=1; Max-Age=60; Path=/; SameSite=lax"),
        ({"max_age": 0}, "a=1; Max-Age=0; Path=/; SameSite=lax"),
        ({"path": None}, "a=1; SameSite=lax"),
        ({"path": "/x"}, "a=1; Path=/x; SameSite=lax"),
        ({"domain": "example.com"}, "a=1; Domain=example.com; Path=/; SameSite=lax"),
        ({"secure": True}, "a=1; Path=/; SameSite=lax; Secure"),
        ({"httponly": True}, "a=1; HttpOnly; Path=/; SameSite=lax"),
        ({"samesite": "strict"}, "a=1; Path=/; SameSite=strict"),
        ({"samesite": "none", "secure": True}, "a=1; Path=/; SameSite=none; Secure"),
        ({"samesite": None}, "a=1; Path=/"),
        ({"partitioned": True, "secure": True}, "a=1; Partitioned; Path=/; SameSite=lax; Secure"),
        (
            {"expires": "Wed, 21 Oct 2015 07:28:00 GMT"},
            "a=1; Path=/; SameSite=lax; expires=Wed, 21 Oct 2015 07:28:00 GMT",
        ),
        (
            {"expires": datetime(2015, 10, 21, 9, 28, tzinfo=timezone(timedelta(hours=2)))},
            "a=1; Path=/; SameSite=lax; expires=Wed, 21 Oct 2015 07:28:00 GMT",
        ),
    ],
)
def test_format(options: dict[str, Any], line: str) -> None:
    """Each attribute is written where it was given, and no other."""
    first, *attributes = format_cookie("a", "1", **options).split("; ")
    expected_first, *expected = line.split("; ")
    assert first == expected_first
    assert sorted(map(str.lower, attributes)) == sorted(map(str.lower, expected))


def test_seconds_from_now() -> None:
    """A number in ``expires`` is seconds from now, written as a date."""
    (date,) = [part for part in format_cookie("a", expires=3600).split("; ") if part.lower().startswith("expires=")]
    when = datetime.strptime(date.partition("=")[2], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert timedelta(minutes=59) < when - datetime.now(UTC) < timedelta(minutes=61)


def test_same_site_in_any_case() -> None:
    """``samesite`` is taken as browsers and other frameworks write it, in any case."""
    assert format_cookie("a", "1", samesite="Lax").lower() == "a=1; path=/; samesite=lax"  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "a b", "a;b", "a=b", "a\r\nb", "é", "a\0", '"a"'])
def test_names_that_are_no_tokens(key: str) -> None:
    """A name that would not be read back is a ValueError."""
    with pytest.raises(ValueError, match="is not a cookie name: use letters, digits and hyphens"):
        format_cookie(key, "1")


@pytest.mark.parametrize("character", [";", "\r", "\n", "\0"])
@pytest.mark.parametrize("attribute", ["path", "domain", "expires"])
def test_attributes_that_would_end_early(attribute: str, character: str) -> None:
    """An attribute cannot smuggle in another attribute, nor another header."""
    options: dict[str, Any] = {attribute: f"x{character} Domain=evil"}
    with pytest.raises(ValueError, match=rf"the {attribute} of cookie 'a' has a character that ends it"):
        format_cookie("a", "1", **options)


def test_an_unknown_same_site() -> None:
    """An unknown ``samesite`` is a ValueError that says what there is."""
    with pytest.raises(ValueError, match='samesite must be "lax", "strict", "none" or None, got \'loose\''):
        format_cookie("a", "1", samesite="loose")  # type: ignore[arg-type]


def test_a_time_without_a_zone() -> None:
    """A time without a zone is a ValueError that says what to write."""
    with pytest.raises(ValueError, match=r"expires needs a time with a zone: write datetime.now\(UTC\)"):
        format_cookie("a", "1", expires=datetime(2015, 10, 21))  # noqa: DTZ001


@given(NAMES, st.text(st.characters(max_codepoint=255)))
@example("a", "x\r\nset-cookie: b=c; Domain=evil")
@example("a", '"quoted"')
@example("a", "\\")
@example("a", " ")
def test_round_trip(name: str, value: str) -> None:
    """What is set is one legal header, and what a client sends back of it is the same value."""
    assume(not name.startswith("__"))  # such a name may ask for attributes
    line = format_cookie(name, value)
    sent = Headers({"set-cookie": line})["set-cookie"]
    assert parse_cookies([sent.partition(";")[0]]) == {name: value}


# What browsers throw away


@pytest.mark.parametrize(
    ("key", "options", "hint"),
    [
        ("__Host-a", {}, "write secure=True"),
        ("__Host-a", {"secure": True, "path": "/x"}, 'write path="/"'),
        ("__Host-a", {"secure": True, "path": None}, 'write path="/"'),
        ("__Host-a", {"secure": True, "domain": "a.example"}, "write domain=None"),
        ("__Host-a", {"path": "/x", "domain": "a.example"}, 'write secure=True, path="/", domain=None'),
        ("__host-a", {"secure": True, "path": "/x"}, 'write path="/"'),
        ("__HOST-", {}, "write secure=True"),
        ("__Secure-a", {}, "write secure=True"),
        ("__sEcUrE-a", {}, "write secure=True"),
        ("__Http-a", {"secure": True}, "write httponly=True"),
        ("__Host-Http-a", {"secure": True}, "write httponly=True"),
        ("__host-http-a", {"secure": True, "httponly": True, "domain": "a.example"}, "write domain=None"),
        ("a", {"samesite": "none"}, "write secure=True"),
        ("a", {"samesite": "None"}, "write secure=True"),
        ("a", {"partitioned": True}, "write secure=True"),
        ("a", {"domain": "https://a.example"}, "without scheme and port"),
        ("a", {"domain": "a.example:8000"}, "without scheme and port"),
        ("a", {"domain": "a.example/x"}, "without scheme and port"),
        ("a", {"domain": ""}, "without scheme and port"),
        ("a", {"domain": "*.example"}, "without scheme and port"),
        ("a", {"domain": "b\xfccher.example"}, "without scheme and port"),
        ("a", {"path": "x"}, 'begins with "/"'),
        ("a", {"path": ""}, 'begins with "/"'),
        ("a", {"path": "/" + "x" * 1024}, "browsers skip one over 1024"),
        ("a" * 2048, {"value": "x" * 2049}, "has 4097 bytes, name and value, and browsers keep 4096"),
        ("a", {"value": "\0" * 1024}, "has 4099 bytes"),
        ("a", {"value": "\N{EURO SIGN}"}, r"write urllib.parse.quote\(value\)"),
        ("a", {"value": "\udc80"}, r"write urllib.parse.quote\(value\)"),
    ],
)
def test_a_cookie_that_browsers_throw_away(key: str, options: dict[str, Any], hint: str) -> None:
    """It is a ValueError that says what to write, whatever the case of its name."""
    with pytest.raises(ValueError, match=hint):
        format_cookie(key, **options)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("__Host-a", {"secure": True}),
        ("__Secure-a", {"secure": True, "path": "/x", "domain": "a.example"}),
        ("__Host-Http-a", {"secure": True, "httponly": True}),
        ("__Hosta", {}),
        ("a__Host-", {}),
        ("a", {"samesite": "none", "secure": True}),
        ("a", {"domain": ".a.example"}),
        ("a", {"domain": "127.0.0.1"}),
        ("a" * 2048, {"value": "x" * 2048}),
    ],
)
def test_a_cookie_that_browsers_keep(key: str, options: dict[str, Any]) -> None:
    """What comes close to that, and is kept, is set."""
    assert format_cookie(key, **options).startswith(f"{key}=")


@pytest.mark.parametrize(
    ("age", "written"),
    [
        (timedelta(days=14), 1209600),
        (timedelta(seconds=-5), -5),
        (timedelta(milliseconds=1), 1),  # 0 would delete it
        (-1, -1),
    ],
)
def test_an_age_in_whole_seconds(age: int | timedelta, written: int) -> None:
    """An age is written as a number of seconds."""
    assert f"; Max-Age={written};" in format_cookie("a", "1", max_age=age)


@pytest.mark.parametrize("option", ["max_age", "expires"])
@pytest.mark.parametrize("wrong", [1.5, True, b"1", [1], object()])
def test_a_time_that_is_none(option: str, wrong: object) -> None:
    """What browsers could not read as a time is a TypeError, an age as text too."""
    options: dict[str, Any] = {option: wrong}
    with pytest.raises(TypeError, match=f"the {option} of cookie 'a' is"):
        format_cookie("a", "1", **options)
    with pytest.raises(TypeError, match="max_age"):
        format_cookie("a", "1", max_age="60")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        *("tomorrow", "", "0", "60", "2030-01-01", "2030-01-01T00:00:00Z", "Wed, 41 Oct 2015 07:28:00 GMT"),
        *("Mon, 01 Jan 1600 00:00:00 GMT", datetime.min.replace(tzinfo=UTC), 10**15, -(10**15)),
    ],
)
def test_a_date_that_browsers_skip(wrong: Any) -> None:
    """A date that is none, or is out of range, would leave a cookie until the browser closes: it is a ValueError."""
    with pytest.raises(ValueError, match="the expires of cookie 'a' is a datetime, seconds from now"):
        format_cookie("a", "1", expires=wrong)


@pytest.mark.parametrize(
    "text",
    [
        *("Wed, 21-Oct-2015 07:28:00 GMT", "Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015"),
        *("21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 09:28:00 +0200"),
    ],
)
def test_dates_in_other_forms(text: str) -> None:
    """A date is sent in the one form that all browsers read alike."""
    assert "; Expires=Wed, 21 Oct 2015 07:28:00 GMT;" in format_cookie("a", "1", expires=text)


@pytest.mark.parametrize("options", [{"key": 1}, {"value": 1}, {"value": None}, {"value": b"x"}, {"path": 1}])
def test_what_is_no_text(options: dict[str, Any]) -> None:
    """A name, value or attribute that is no ``str`` is a TypeError, rather than text that nobody meant."""
    with pytest.raises(TypeError, match="is a str"):
        format_cookie(**{"key": "a", "value": "1", **options})
