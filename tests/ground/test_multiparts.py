"""Multipart forms, taken apart: whatever the pieces they come in, and whatever is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.multiparts import MAX_PADDING, MultipartReader, PartHead, last_component
from trioweb.ground.http.parameters import boundary_of

Part = tuple[str, str | None, bytes]

WHOLE = (
    b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n'
    b'--X\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n'
    b"Content-Type: text/plain; charset=latin-1\r\n\r\none\r\n--Y two\r\n-\r\n--\r\n--X--\r\n"
)


def reader(max_parts: int = 100, max_head_line: int = 1000, max_head_lines: int = 8) -> MultipartReader:
    """A reader with small limits."""
    return MultipartReader("X", max_parts, max_head_line, max_head_lines)


def parse(pieces: list[bytes], read: MultipartReader | None = None) -> list[tuple[PartHead, bytes]]:
    """The parts of a body that comes in pieces."""
    read = read or reader()
    parts: list[tuple[PartHead, bytes]] = []
    ended = True
    for piece in pieces:
        for event in read.feed(piece):
            if isinstance(event, PartHead):
                assert ended, "a part begins before the last has ended"
                parts.append((event, b""))
                ended = False
            elif event is None:
                ended = True
            else:
                assert event, "an empty piece"
                parts[-1] = (parts[-1][0], parts[-1][1] + event)
    read.end()
    assert ended
    return parts


def outcome(pieces: list[bytes]) -> object:
    """The parts, or the status of what is wrong."""
    try:
        return parse(pieces)
    except HTTPError as error:
        return error.status


EXPECTED = [
    (PartHead("a", None, None, None), b"hello"),
    (PartHead("f", "x.txt", "text/plain; charset=latin-1", "latin-1"), b"one\r\n--Y two\r\n-\r\n--"),
]


@pytest.mark.parametrize("at", range(len(WHOLE) + 1))
def test_a_split_at_any_byte_changes_nothing(at: int) -> None:
    """A body that is cut in two at any byte gives the same parts."""
    assert parse([WHOLE[:at], WHOLE[at:]]) == EXPECTED


def test_a_byte_at_a_time() -> None:
    """A body that comes byte by byte gives the same parts."""
    assert parse([WHOLE[i : i + 1] for i in range(len(WHOLE))]) == EXPECTED


@pytest.mark.parametrize("end", range(WHOLE.index(b"--X--") + 3))
def test_a_body_that_is_cut_is_never_whole(end: int) -> None:
    """A body that ends before its last boundary does is a 400, wherever that is."""
    with pytest.raises(HTTPError) as caught:
        parse([WHOLE[:end]])
    assert caught.value.status == 400


NAMES = st.text(st.characters(exclude_characters='"\\%\r\n\0', codec="utf-8"), min_size=1, max_size=8)
FILES = st.none() | NAMES.filter(lambda name: last_component(name) == name)
CONTENTS = st.binary(max_size=30) | st.sampled_from([b"\r\n", b"--X", b"\r\n--", b"\r\n--Y--", b"\r", b"-" * 20])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, FILES, CONTENTS), max_size=4), st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_what_is_written_is_read(parts: list[Part], sizes: list[int]) -> None:
    """Any fields and files come back as they were written, in pieces of any size."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        body += b"--BOUND\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
    body += b"--BOUND--\r\n"
    pieces, at, turn = [], 0, 0
    while at < len(body):
        pieces.append(body[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    found = parse(pieces, MultipartReader("BOUND", 100, 1000, 8))
    assert [(head.name, head.filename, content) for head, content in found] == parts


SOUP = st.lists(
    st.sampled_from([
        b"--X", b"\r\n", b"--", b"-", b"\r", b"\n", b"X", b": ", b";", b'"', b"\xff", b"\0", b"a",
        b"Content-Disposition: form-data", b'; name="a"', b'; filename="f"', b"; filename*=UTF-8''%ff",
        b"Content-Type: text/plain", b"; charset=x", b"Content-Length: 3", b"\r\n--X\r\n", b"\r\n\r\n", b"\r\n--X--",
    ]),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SOUP, st.integers(0, 400))
def test_any_soup_is_read_or_refused(soup: list[bytes], at: int) -> None:
    """Any mixture of what forms are made of is a form or a 4xx, and the same in one piece as in two."""
    body = b"".join(soup)
    whole = outcome([body])
    assert whole == outcome([body[:at], body[at:]])
    assert isinstance(whole, list) or whole in {400, 413}


HEAD = b"Content-Disposition: form-data; name=a"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing of the kind",
        b"\xff\xfe\xfd" * 100,
        b"--X",
        b"--X\r\n",
        b"secret--X--",
        b"--X\n" + HEAD + b"\n\nx\n--X--\n",
        b"junk--X\r\n" + HEAD + b"\r\n\r\n\r\n--X--",
        b"--Xjunk\r\n" + HEAD + b"\r\n\r\n\r\n--X--",
        b"--X\r\n\r\nno head\r\n--X--",
        b"--X\r\nContent-Type: text/plain\r\n\r\nx\r\n--X--",
        b'--X\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--X--',
        b"--X\r\nno colon\r\n\r\nx\r\n--X--",
        b"--X\r\n: no name\r\n\r\nx\r\n--X--",
        b"--X\r\nA b: odd name\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X\r\n\xff: x\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b'--X\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--X--',
        b"--X\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%ff\r\n\r\nx\r\n--X--",
        b"--X\r\n continued\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\nContent-Length: 5\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\nContent-Length: -5\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--X-",
        b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--Xy\r\n--X--"[:-2],
        b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--X\r\n",
        b"--X \n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X \r \r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X \x0b\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X y\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X --\r\n",
        b"--X" + b" " * (MAX_PADDING + 1) + b"\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--X y\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"; name=b\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b'; Filename=a; filename="b"\r\n\r\nx\r\n--X--',
        b"--X\r\n" + HEAD + b'; filename="secret\r\n\r\nx\r\n--X--',
        b"--X\r\n" + HEAD + b'; filename="secret"junk\r\n\r\nx\r\n--X--',
        b"--X\r\n" + HEAD + b"; filename*=utf-16''%e9\r\n\r\nx\r\n--X--",
        b"--X\r\n" + HEAD + b"\r\n \r\n\r\nx\r\n--X--",
        b"--X\r\nContent-Disposition\r\n\r\nx\r\n--X--",
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    """What is malformed is a 400 that does not quote it."""
    with pytest.raises(HTTPError) as caught:
        parse([body])
    assert caught.value.status == 400
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"--X\r\nX: " + b"y" * 2000 + b"\r\n" + HEAD + b"\r\n\r\nx\r\n--X--",
        b"--X\r\nX: " + b"y" * 2000,
        b"--X\r\n" + b"X: y\r\n" * 9 + HEAD + b"\r\n\r\nx\r\n--X--",
        (b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n") * 101 + b"--X--",
    ],
)
def test_what_is_beyond_a_limit(body: bytes) -> None:
    """A line, a head or a number of parts beyond its limit is a 413, in one piece and byte by byte."""
    assert outcome([body]) == outcome([body[i : i + 1] for i in range(len(body))]) == 413


@pytest.mark.parametrize("folded", [b"\r\n " + b"y" * 900 + b"\r\n " + b"y" * 900, b"\r\n y" * 5000])
def test_a_line_that_is_continued_is_under_the_same_limits(folded: bytes) -> None:
    """The bytes of lines that continue another count as that line's."""
    body = b"--X\r\n" + HEAD + b"\r\nX: y" + folded + b"\r\n\r\nx\r\n--X--"
    assert outcome([body]) == outcome([body[i : i + 1] for i in range(len(body))]) == 413


PADDINGS = [b" ", b"\t", b" \t  \t", b" " * MAX_PADDING]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("step", [1, 2, 5, 10_000])
def test_white_space_behind_a_boundary(padding: bytes, step: int) -> None:
    """White space that a gateway has put behind a boundary is no part of the form, however it comes."""
    body = b"preamble\r\n" + WHOLE.replace(b"--X\r\n", b"--X" + padding + b"\r\n").replace(b"--X--", b"--X--" + padding)
    assert parse([body[at : at + step] for at in range(0, len(body), step)]) == EXPECTED


@pytest.mark.parametrize(
    "disposition",
    [b"form-data", b"form-data;", b'form-data; filename="f"', b'form-data; filename="name=a"', b"form-data; names=a",
     b"form-data; name", b'form-data; x="; name=a"', b"form-data; filename*=UTF-8''f"],
)  # fmt: skip
def test_a_part_without_a_name(disposition: bytes) -> None:
    """A part without a name is a 400 that says so, and which part it is."""
    body = b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--X\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n--X--"
    with pytest.raises(HTTPError, match=r'at part 2: a part has no name: send .*name="\.\.\."') as caught:
        parse([body])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name=""', ""),
        (b"form-data; name=", ""),
        (b'FORM-DATA ; NAME = "a b"', "a b"),
        (b"form-data;name=a;", "a"),
        (b"form-data;; name=a/b(c)@d$ ; x", "a/b(c)@d$"),
        (b"form-data; name=\"a;b='c'\"", "a;b='c'"),
        (b'form-data; name="a%22b%0D%0Ac%20"', 'a"b\r\nc%20'),
        (b'form-data; name="a\\"b\\\\c"', 'a"b\\c'),
        (b'form-data; name="a\\b"', "a\\b"),
        ('form-data; name="größe[]"'.encode(), "größe[]"),
        (b"form-data; name*=UTF-8''gr%C3%B6%C3%9Fe", "größe"),
        (b"form-data;\r\n\tname=a;\r\n filename=b", "a"),
    ],
)
def test_names_of_fields(disposition: bytes, name: str) -> None:
    """A field's name is read as browsers write it, and as other programs do."""
    [(head, _)] = parse([b"--X\r\nContent-Disposition: " + disposition + b"\r\n\r\n\r\n--X--"])
    assert head.name == name


def test_a_part_is_whole_only_with_all_of_its_boundary() -> None:
    """What only begins like a boundary does not end a part that is then taken for whole."""
    events = reader().feed(b"--X\r\n" + HEAD + b"\r\n\r\nx\r\n--Xyz\r\n--X--")
    assert [next(events), next(events)] == [PartHead("a", None, None, None), b"x"]
    with pytest.raises(HTTPError):
        next(events)


def test_what_is_around_the_form_is_ignored() -> None:
    """A line before the first boundary, and anything after the last, do not count."""
    body = b"preamble\r\n" + WHOLE + b"epilogue\r\n--X\r\n"
    assert parse([body]) == parse([body[:-20], body[-20:]]) == EXPECTED


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=X", "X"),
        ('multipart/form-data; charset=utf-8; Boundary="a b"', "a b"),
        ("multipart/form-data; boundary=----WebKitFormBoundary1aB", "----WebKitFormBoundary1aB"),
        ("multipart/form-data; boundary=--------lImIt_Of_PaRtS_$", "--------lImIt_Of_PaRtS_$"),
        ("multipart/form-data; boundary=user@host", "user@host"),
        ('multipart/form-data; boundary="a@b$c#d"', "a@b$c#d"),
        ("multipart/form-data; boundary=----=_Part_1_(2).3:4/5?,6", "----=_Part_1_(2).3:4/5?,6"),
        ("multipart/form-data; boundary=!#$%&*^`{|}~<>[]\\; charset=utf-8", "!#$%&*^`{|}~<>[]\\"),
        ('multipart/form-data; boundary="a\\"b;c\\\\d"', 'a"b;c\\d'),
        ("multipart/form-data;boundary = X ; charset=utf-8;", "X"),
        ("multipart/form-data; boundary=" + "x" * 255, "x" * 255),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ('multipart/form-data; boundary="a', None),
        ('multipart/form-data; boundary="a"b', None),
        ("multipart/form-data; boundary=a\x01", None),
        ("multipart/form-data; boundary*=utf-8''a", None),
        ('multipart/form-data; x="; boundary=a"', None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ('multipart/form-data; boundary=""', None),
        ('multipart/form-data; boundary="a\xe9"', None),
        ('multipart/form-data; boundary="a "', None),
        ("multipart/form-data; boundary=" + "x" * 300, None),
    ],
)
def test_boundaries(content_type: str, boundary: str | None) -> None:
    """The boundary is what the content type names; one that cannot be is a 400."""
    if boundary is None:
        with pytest.raises(HTTPError, match="boundary") as caught:
            boundary_of(content_type)
        assert caught.value.status == 400
    else:
        assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b'form-data; name="a"; filename="../../etc/passwd"', "passwd"),
        (b'form-data; name="a"; filename="C:\\\\Users\\\\me\\\\x.txt"', "x.txt"),
        (b'form-data; name="a"; filename=".."', ""),
        (b'form-data; name="a"; filename="/"', ""),
        (b'form-data; name="a"; filename=""', ""),
        (b'form-data; name="a"; filename="a\0b\x1f.txt"', "ab.txt"),
        ('form-data; name="a"; filename="Übergröße €.pdf"'.encode(), "Übergröße €.pdf"),
        (b'form-data; name="a"; filename="say %22hi%22.txt"', 'say "hi".txt'),
        (b"form-data; name=a; filename*=UTF-8''%e2%82%ac%20rates", "€ rates"),
        (b"form-data; name=a; filename=euro; filename*=utf-8'en'%E2%82%AC", "€"),
        (b"form-data; name=a; filename*=iso-8859-1''%e9; filename=e", "é"),
        (b"form-data; name=a; filename=e; filename*=utf-16''%e9", "e"),
        (b"form-data; name=a; filename*=UTF-8''..%2f..%2fx", "x"),
        (b"form-data; name=a; filename=\"filename*=UTF-8''x\"", "filename*=UTF-8''x"),
        (b"form-data; name=a", None),
    ],
)
def test_names_of_files(disposition: bytes, filename: str | None) -> None:
    """Of a file's name the last component is given, however a browser or another client has written it."""
    body = b"--X\r\nContent-Disposition: " + disposition + b"\r\n\r\n\r\n--X--"
    [(head, _)] = parse([body])
    assert (head.name, head.filename) == ("a", filename)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_name_is_never_a_path(name: str) -> None:
    """Whatever a client calls its file, what is offered names nothing outside of a directory."""
    kept = last_component(name)
    assert "/" not in kept
    assert "\\" not in kept
    assert "\0" not in kept
    assert kept not in {".", ".."}


@pytest.mark.parametrize("unit", [b"\r\n--" + b"X" * 60, b"\r", b"\r\n-", b"--X", b"\0" * 20])
@pytest.mark.parametrize("step", [1 << 24, 1 << 16])
def test_what_nearly_is_a_boundary(unit: bytes, step: int) -> None:
    """Sixteen million bytes of what nearly is a boundary are given as they are, in time that grows with them alone."""
    boundary = b"X" * 69 + b"Y"
    content = unit * ((1 << 24) // len(unit))
    read = MultipartReader(boundary.decode(), 10, 8192, 8)
    assert len(list(read.feed(b"--" + boundary + b"\r\n" + HEAD + b"\r\n\r\n"))) == 1
    body = content + b"\r\n--" + boundary + b"--"
    events = [event for at in range(0, len(body), step) for event in read.feed(body[at : at + step])]
    assert b"".join(event for event in events if isinstance(event, bytes)) == content


@pytest.mark.parametrize("unit", [b'; a="', b"; filename*=a''", b"; ", b'\\"', b";a=b", b'"', b"; =", b"; a=\\"])
def test_a_hostile_head(unit: bytes) -> None:
    """A head of the longest line that is taken, made of what is costly to read, is read or refused at once."""
    line = b"Content-Disposition: form-data; name=a" + unit * (8000 // len(unit))
    body = (b"--X\r\n" + line + b"\r\n\r\n\r\n") * 100 + b"--X--"
    assert outcome([body]) in (400, 413) or len(parse([body], reader(max_head_line=8192))) == 100
