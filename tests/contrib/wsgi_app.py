"""WSGI apps under test: one that does what only WSGI can, Flask, and Django. Run by either server."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import django
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path, reverse

from tests.notes import note
from trioweb import App
from trioweb.contrib.wsgi import WSGI

StartResponse = Callable[..., Callable[[bytes], object]]

# Bare WSGI

PLAIN = [("Content-Type", "text/plain")]


class Noted:
    """Chunks that note when they are taken and closed, and in which thread."""

    def __init__(self, count: int, pause: float = 0) -> None:
        self.count = count
        self.pause = pause
        self.thread = threading.get_ident()

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.count):
            assert threading.get_ident() == self.thread
            note(f"made {number + 1}")
            yield f"{number}\n".encode().rjust(1000)
            time.sleep(self.pause)

    def close(self) -> None:
        """What WSGI has a server call at the end, whatever that is."""
        note(f"closed in {'its' if threading.get_ident() == self.thread else 'another'} thread")


def bare(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request by its path."""
    return getattr(sys.modules[__name__], f"serve_{environ['PATH_INFO'].strip('/')}")(environ, start_response)  # type: ignore[no-any-return]


def serve_echo(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the body, read in all the ways that there are."""
    file = environ["wsgi.input"]
    first, line = file.read(3), file.readline()
    rest = b"".join(file)
    start_response("200 OK", PLAIN)
    return [b"|".join((first, line, rest, file.read(1)))]


def serve_chunks(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with some chunks."""
    start_response("200 OK", PLAIN)
    return Noted(3)


def serve_flood(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with more than a client takes."""
    start_response("200 OK", PLAIN)
    return Noted(1_000_000)


def serve_ticks(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a chunk now and then."""
    start_response("200 OK", PLAIN)
    return Noted(1_000_000, 0.01)


def serve_cut(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Fail in the middle of a response."""
    start_response("200 OK", PLAIN)
    yield b"some"
    raise KeyError("in the middle")


def serve_fails(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Fail before there is one."""
    raise KeyError("at the start")


# Flask

shop = flask.Flask("shop")


@shop.get("/items/<int:number>")
def item(number: int) -> str:
    """A page with the address of another."""
    return f"{number} {flask.url_for('item', number=number + 1, _external=True)} {flask.request.args.get('q')}"


@shop.get("/stream")
def stream() -> flask.Response:
    """A stream that needs its request."""

    def rows() -> Iterator[str]:
        for number in range(3):
            yield f"{number} {flask.request.path}\n"

    return flask.Response(flask.stream_with_context(rows()), mimetype="text/plain")


@shop.post("/upload")
def upload() -> dict[str, object]:
    """A form with a file."""
    file = flask.request.files["file"]
    return {"name": flask.request.form["name"], "file": file.filename, "size": len(file.read())}


@shop.post("/size")
def size() -> str:
    """How large a body is."""
    return str(len(flask.request.get_data()))


@shop.get("/fails")
def fails() -> str:
    """An error that Flask answers."""
    raise KeyError("in Flask")


# Django


def django_page(request: HttpRequest, number: int) -> HttpResponse:
    """A page with the address of another."""
    return HttpResponse(f"{number} {reverse('page', args=[number + 1])} {request.build_absolute_uri()}")


def django_stream(request: HttpRequest) -> StreamingHttpResponse:
    """A stream."""
    return StreamingHttpResponse((f"{number}\n" for number in range(3)), content_type="text/plain")


def django_upload(request: HttpRequest) -> HttpResponse:
    """A form with a file."""
    file = request.FILES["file"]
    return HttpResponse(f"{request.POST['name']} {file.name} {file.size}")


urlpatterns = [
    path("items/<int:number>", django_page, name="page"),
    path("stream", django_stream),
    path("upload", django_upload),
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
django.setup()
site = get_wsgi_application()

app = App()
app.mount("/bare", WSGI(validator(bare)))
app.mount("/shop", WSGI(shop))
app.mount("/site", WSGI(site))
