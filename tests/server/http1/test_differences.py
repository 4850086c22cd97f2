"""This server against Hypercorn's own on trio, which parses with h11: the same bytes to both, whole and in two parts.

Both accept or both refuse, and what they accept reads the same. Where that is not so, ``DIFFERENCES`` says why.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from tests.server.http1.corpus import CORPUS
from tests.server.http1.sides import OURS, SIDES, SLOWLY, THEIRS, Outcome

LONG: Final = 400
"""Bytes of what is not sent in two parts at every position: it is about its length."""

REFUSED_HERE, TAKEN_HERE, READ_OTHERWISE, SAID_OTHERWISE = (
    "refused here, and not by Hypercorn",
    "taken here, and not by Hypercorn",
    "taken by both, and read otherwise",
    "the same to the app, and another answer",
)


class Difference(NamedTuple):
    """What the two make otherwise.

    Attributes:
        kind: how they differ.
        reason: the sentence of an RFC that allows, or demands, what is done here.
        shapes: what of the corpus it is about.
    """

    kind: str
    reason: str
    shapes: tuple[str, ...]


DIFFERENCES: Final = (
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 6.1: a server MAY reject a request that has both a Content-Length and a Transfer-Encoding",
        ("both lengths", "both lengths, the other way", "both lengths with tabs"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 8.6: a Content-Length of several values that are equal MUST be rejected, or replaced by one",
        ("the same length twice", "a list of lengths"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 8.6: a recipient MUST be ready for large numbers, and prevent errors and overflows by them",
        ("a length of 19 digits",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 6.1: in HTTP/1.0 a Transfer-Encoding MUST be treated as a faulty framing",
        ("chunked in HTTP/1.0",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 5.2: a server MUST either reject a folded line with a 400, or replace it by spaces",
        ("a folded line", "a line folded with a tab", "a length behind a space", "a name behind a tab",
         "a folded trailer", "a field of a tab that is folded", "a line of a tab"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 2.2: a recipient MAY take a single LF for the end of a line; it need not",
        ("bare LFs", "a bare LF in a line", "a bare LF at the end", "trailers that end with a bare LF"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 5.5: values with control characters are invalid; a recipient MAY keep some of them",
        ("a control character", "a delete in a value", "an escape in a value"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 15.6.6: 505 is for a major version that a server does not support",
        ("HTTP/0.9", "HTTP/2.0"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 3.2: a target has one of four forms; an invalid request line SHOULD be answered with a 400",
        ("a target with a fragment", "a relative target", "an authority with GET"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 7.4: a server rejects a request whose target URI it is not there for",
        ("a URL of another scheme",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 4.2.4: user information in a URI from an untrusted source SHOULD be treated as an error",
        ("a URL with a user",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 4.2.1: an http URI with an empty host MUST be rejected",
        ("a URL without a host",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 3.2.4: the target * is only for OPTIONS of the server as a whole",
        ("* with GET", "PRI with HTTP/1.1"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 9.3.6: an origin server may accept CONNECT; section 9.1: else 501 is the answer",
        ("CONNECT", "CONNECT with a path"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 3.2: a server MUST answer 400 to a request whose Host has an invalid value",
        ("a Host with a path", "a Host with a user", "a list of Hosts", "a Host with a word for a port",
         "a Host of an IPv6 address without brackets", "a Host with a space", "a Host with a query",
         "a Host with a backslash", "a Host in another alphabet"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 3: a method that is longer than any that a server implements SHOULD be answered with a 501",
        ("a long method",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 3: a target that is longer than a server wants to parse MUST be answered with a 414",
        ("a long target",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 5.4: fields that are larger than a server wants to process MUST be answered with a 4xx",
        ("a long field",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 7.1: a chunk's size is hexadecimal digits, and then an extension or the end of the line",
        ("a chunk size with a space",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 7.1: a recipient MUST be ready for large chunk sizes, and prevent errors and overflows",
        ("a chunk size beyond all numbers",),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9112, section 7.1.1: an extension has a name, and its value is a token or a string of one line",
        ("a chunk size with an empty extension", "an extension with a NUL", "an extension with a line in quotes",
         "an extension without a name", "an extension without a value", "an extension of two semicolons",
         "an extension with a space at its end", "an extension with two words", "an extension with a bare CR"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9110, section 6.5.1: no field that is needed for the framing of a message can be a trailer",
        ("a length among the trailers", "a trailer that names a coding"),
    ),
    Difference(
        REFUSED_HERE,
        "RFC 9113, section 3.4: the preface of HTTP/2 is what a client says first on a connection",
        ("a request and the preface of HTTP/2",),
    ),
    Difference(
        TAKEN_HERE,
        "RFC 9112, section 2.2: a server SHOULD ignore at least one empty line before a request line",
        ("empty lines first", "empty lines between requests", "an empty line behind a body",
         "a line end and no field", "an empty line"),
    ),
    Difference(
        TAKEN_HERE,
        "RFC 9112, section 7.1.1: white space around the semicolon and the equals sign of an extension is to be parsed",
        ("an extension with a space before it", "an extension with spaces and tabs"),
    ),
    Difference(
        TAKEN_HERE,
        "RFC 9112, section 9.3: a connection of HTTP/1.0 persists where its client says keep-alive",
        ("HTTP/1.0 that would stay, and a request behind it", "HTTP/1.0 without a Host"),
    ),
    Difference(
        TAKEN_HERE,
        "RFC 9112, section 9.6: after a request with close the final response is sent, and nothing more is processed",
        ("HTTP/1.0 that would not, and bytes behind it", "the end of the connection, and bytes behind it",
         "keep-alive and close"),
    ),
    Difference(
        READ_OTHERWISE,
        "RFC 9112, section 3.2.2: of a target that is a URL a server MUST take the host, and ignore the Host field",
        ("a URL", "a URL without a path", "OPTIONS of a URL without a path", "a URL with a query and no path",
         "a URL in capitals", "a URL of https", "a URL with a path and the same host",
         "a URL with an address of IPv6"),
    ),
    Difference(
        READ_OTHERWISE,
        "RFC 9112, section 7: names of codings are compared without case; h11 writes them in small letters",
        ("chunked in capitals",),
    ),
    Difference(
        READ_OTHERWISE,
        "RFC 9110, section 2.5: a later minor version SHOULD be processed as the highest that one conforms to",
        ("HTTP/1.2",),
    ),
    Difference(
        SAID_OTHERWISE,
        "RFC 9112, section 6.3: where chunked is not the last coding of a request the server MUST answer 400",
        ("chunked twice", "two chunked fields", "no chunked", "identity", "nearly chunked", "chunked with a parameter",
         "an empty coding", "a length and a coding that is no chunked", "chunked and a comma", "chunked in quotes",
         "chunked before another coding", "a coding with a name of its own", "chunked and a tab within",
         "chunked, a tab and another word"),
    ),
    Difference(
        SAID_OTHERWISE,
        "RFC 9112, section 3: a target that is longer than a server wants to parse MUST be answered with a 414",
        ("a long target without an end",),
    ),
    Difference(
        SAID_OTHERWISE,
        "RFC 9112, section 7.1.1: a server ought to limit what extensions take, and answer with a 4xx",
        ("endless extensions", "endless trailers"),
    ),
    Difference(
        SAID_OTHERWISE,
        "RFC 9110, section 10.1.1: a server MAY omit the 100 where some of the content has come, or there is none",
        ("an expectation", "an expectation without a body"),
    ),
)  # fmt: skip

HASTY: Final = (
    "HTTP/1.0 that would stay, and a request behind it", "HTTP/1.0 that would not, and bytes behind it",
    "the end of the connection, and bytes behind it", "keep-alive and close",
)  # fmt: skip
"""Bytes behind a connection's last request. In Hypercorn, what comes of them is a matter of time: they may be answered
in place of that request, or while it is, which fails there. So they are not cut for it.
"""
_OF_SHAPE: Final = {shape: difference for difference in DIFFERENCES for shape in difference.shapes}


def kind_of(ours: Outcome, theirs: Outcome) -> str | None:
    """How two outcomes differ; ``None`` for not at all."""
    if ours == theirs:
        return None
    if ours.refused and not theirs.refused:
        return REFUSED_HERE
    if (theirs.refused and not ours.refused) or (theirs.closed and not ours.closed):
        return TAKEN_HERE
    return READ_OTHERWISE if ours.requests != theirs.requests else SAID_OTHERWISE


@pytest.mark.parametrize("shape", CORPUS)
async def test_both_make_the_same_of_it(shape: str) -> None:
    """Both servers accept the same requests and read them in the same way, apart from what is listed."""
    difference = _OF_SHAPE.get(shape)
    expected = difference.kind if difference else None
    for cushion in (0.0, SLOWLY):
        found = {}
        for name, open_side in SIDES.items():
            async with open_side() as side:
                found[name] = await side.tell(CORPUS[shape], cushion=cushion)
        if kind_of(found[OURS], found[THEIRS]) == expected:
            break
    assert not any(outcome.fault for outcome in found.values())
    assert kind_of(found[OURS], found[THEIRS]) == expected, found


@pytest.mark.parametrize("shape", [shape for shape, data in CORPUS.items() if 1 < len(data) <= LONG])
async def test_it_is_the_same_however_it_is_cut(shape: str) -> None:
    """In two parts, cut anywhere, bytes are to each server what they are in one; nothing is read in two ways."""
    data = CORPUS[shape]
    for name, open_side in SIDES.items():
        if name is THEIRS and shape in HASTY:
            continue
        async with open_side() as side:
            whole = await side.tell(data)
            for cut in range(1, len(data)):
                parts = data[:cut], data[cut:]
                if not same(await side.tell(*parts), whole):
                    whole = await side.tell(data, cushion=SLOWLY)
                    assert same(await side.tell(*parts, cushion=SLOWLY), whole), (name, parts, whole)


def same(outcome: Outcome, whole: Outcome) -> bool:
    """Whether cut and whole are the same: but the client may be asked for a body that has not come yet."""
    statuses = tuple(status for status in outcome.statuses if status != 100)
    expected = tuple(status for status in whole.statuses if status != 100)
    return outcome._replace(statuses=statuses) == whole._replace(statuses=expected)


def test_what_is_listed_is_there() -> None:
    """No difference is listed twice, nor one that is about nothing."""
    shapes = [shape for difference in DIFFERENCES for shape in difference.shapes]
    assert len(shapes) == len(set(shapes))
    assert set(shapes) <= set(CORPUS)
    assert all(difference.reason.startswith("RFC ") for difference in DIFFERENCES)
