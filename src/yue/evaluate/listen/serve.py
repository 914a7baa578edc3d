"""The web server of a listening test: one page, the songs, three small requests. Standard library.

    GET  /                 the page; its style and scripts beside it
    GET  /audio/NAME       a song, by its opaque name
    GET  /api/about        title, questions
    POST /api/join         -> {"token"}
    GET  /api/session      -> done, total, trial       (header X-Rater: the token)
    POST /api/vote         -> the session after it     (header X-Rater)

Everything that can be fetched is listed when the server starts: a path is looked up, never opened,
so none leads out of the folder. Bodies are JSON of bounded size; refusals are JSON with `error`.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, cast

from yue.errors import FileError, OptionError
from yue.evaluate.listen.desk import Desk, RefusedError

PAGE = Path(__file__).parent / "page"
HOST, PORT = "127.0.0.1", 8765
LARGEST_BODY = 64 * 1024
EVERY_ADDRESS = ("0.0.0.0", "::")
PATIENCE = 60
"""Seconds without a byte after which a connection is given up."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
}
GUARDS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ListenServer(ThreadingHTTPServer):
    """A server for one desk; `url` is where it listens. Port 0 takes any free one."""

    daemon_threads = True

    def __init__(self, desk: Desk, host: str = HOST, port: int = PORT) -> None:
        self.desk = desk
        pages = {f"/{path.name}": path for path in PAGE.iterdir() if path.suffix in TYPES}
        songs = {f"/audio/{name}": path for name, path in desk.audio.items()}
        self.files = {"/": PAGE / "index.html", **pages, **songs}
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"cannot listen on {host}:{port} ({error}): choose another --port or --host."
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{_outward() if host in EVERY_ADDRESS else host}:{port}/"

    def links(self, url: str | None = None) -> list[str]:
        """The address of each rater's session, under the `url` that raters use."""
        return [f"{url or self.url}#{token}" for token in self.desk.tokens]


def _outward() -> str:
    """This machine's address in its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that belongs to nobody (RFC 5737)
        except OSError:
            return HOST
        return str(probe.getsockname()[0])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "yue", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/about":
            self._answer(self._desk.about)
        elif path == "/api/session":
            self._answer(lambda: self._desk.session(self._token))
        elif path in self._server.files:
            self._file(self._server.files[path])
        else:
            self._answer(self._nothing)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _post(self) -> dict[str, Any]:
        body = self._body()
        if self.path == "/api/join":
            return {"token": self._desk.join()}
        if self.path == "/api/vote":
            return self._desk.vote(self._token, body)
        return self._nothing()

    def _nothing(self) -> dict[str, Any]:
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such page.")

    @property
    def _server(self) -> ListenServer:
        return cast(ListenServer, self.server)

    @property
    def _desk(self) -> Desk:
        return self._server.desk

    @property
    def _token(self) -> str:
        return str(self.headers.get("X-Rater", ""))

    def _answer(self, ask: Callable[[], dict[str, Any]]) -> None:
        """What the desk says, or why not."""
        try:
            self._json(HTTPStatus.OK, ask())
        except RefusedError as refusal:
            self._json(refusal.status, {"error": str(refusal)})
        except FileError as error:
            self.log_error("%s", error)
            message = "The vote could not be kept. Please wait a moment and try again."
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": message})
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - an answer, whatever it was
            self.log_error("%s: %s", type(error).__name__, error)
            message = "Something went wrong here. Please load the page anew."
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": message})

    def _body(self) -> dict[str, Any]:
        """The JSON object sent. A body that is refused unread ends the connection.

        Browsers send this content type across sites only after asking, and no one says yes here.
        """
        ends, self.close_connection = self.close_connection, True
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON is expected.")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is expected.")
        if len(length) > 9 or int(length) > LARGEST_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too much.")
        data = self.rfile.read(int(length))
        self.close_connection = ends
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A JSON object is expected.")
        return body

    def _json(self, status: HTTPStatus, value: Any) -> None:
        data = json.dumps(value, ensure_ascii=False).encode()
        self._head(status, "application/json; charset=utf-8", len(data), "no-store")
        self.wfile.write(data)

    def _file(self, path: Path) -> None:
        cache = "private, max-age=86400, immutable" if path.suffix == ".flac" else "no-cache"
        with path.open("rb") as file:
            size = path.stat().st_size
            self._head(HTTPStatus.OK, TYPES[path.suffix], size, cache)
            shutil.copyfileobj(cast(BinaryIO, file), self.wfile)

    def _head(self, status: HTTPStatus, kind: str, length: int, cache: str) -> None:
        self.send_response(status)
        heads = {"Content-Type": kind, "Content-Length": str(length), "Cache-Control": cache}
        for name, value in {**heads, **GUARDS}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def handle_one_request(self) -> None:
        """One request; a rater who closed the page meanwhile is no error."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_error(self, words: str, *values: Any) -> None:
        """Say what went wrong; a browser that keeps its connection for later is no error."""
        if not words.startswith("Request timed out"):
            super().log_error(words, *values)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well."""
