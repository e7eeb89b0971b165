"""Serves a folder's pages to browsers on this machine, and keeps what readers mark."""

import json
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from rcm_cascade.errors import InputError, explain_os_error
from rcm_cascade.review.index import write_index
from rcm_cascade.review.marks import SUFFIX, read_marks, write_marks
from rcm_cascade.review.page import SUFFIX as PAGE
from rcm_cascade.review.page import is_page

LOOPBACK: Final = "127.0.0.1"
LARGEST: Final = 2**20
"""Bytes that a page may send."""


class Server(ThreadingHTTPServer):
    """Answers on the loopback interface alone.

    Args:
        root: the folder of annotations.
        port: 0 takes a free one.

    Raises:
        InputError: if the folder has no page, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is no folder; give one that `rcm-cascade annotate --page` wrote into")
        if write_index(root) is None:
            raise InputError(f"{root} has no page; write them with `rcm-cascade annotate … --page --out {root}`")
        try:
            super().__init__((LOOPBACK, port), partial(Handler, root.resolve()))
        except (OSError, OverflowError) as error:
            said = explain_os_error(error) if isinstance(error, OSError) else str(error)
            raise InputError(f"port {port} cannot be served ({said}); choose another with --port") from error

    @property
    def address(self) -> str:
        """Of the index."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/index.html"


class Handler(SimpleHTTPRequestHandler):
    """Gives files of the pages, and takes marks.

    Args:
        root: the folder of annotations, without links in its path.
        *given: as the base class has them.
    """

    protocol_version = "HTTP/1.1"
    server_version = "rcm_cascade"
    sys_version = ""

    def __init__(self, root: Path, *given: Any) -> None:  # noqa: ANN401
        self.root = root
        super().__init__(*given, directory=str(root))

    def do_GET(self) -> None:
        """A file of a page, the index, or a mosaic's marks."""
        if not self._is_asked_here():
            return
        url = urlsplit(self.path)
        if url.path == "/marks":
            if (path := self._marks_path(url.query)) is not None:
                self._answer(json.dumps(read_marks(path)))
        elif self._is_public(url.path):
            super().do_GET()
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_HEAD(self) -> None:
        """As GET, without the content."""
        if self._is_asked_here():
            if self._is_public(urlsplit(self.path).path):
                super().do_HEAD()
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        """Keeps a mosaic's marks. Other sites' pages cannot send this content type without asking first."""
        if not self._is_asked_here():
            return
        url = urlsplit(self.path)
        path = self._marks_path(url.query) if url.path == "/marks" else None
        size = self.headers.get("Content-Length", "")
        if path is None or self.headers.get_content_type() != "application/json" or not size.isdecimal():
            self._refuse(HTTPStatus.BAD_REQUEST, "marks are sent as JSON by a page")
        elif int(size) > LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too much to keep")
        else:
            try:
                write_marks(path, json.loads(self.rfile.read(int(size))))
                self._answer("[]")
            except (InputError, ValueError) as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except OSError as error:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{path.name} cannot be written: {error.strerror}")

    def end_headers(self) -> None:
        """Pages load nothing from elsewhere, and no other page may hold them."""
        policy = "default-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing of what is looked at."""

    def _is_asked_here(self) -> bool:
        """Whether the browser asks for this machine by a name of its own: another site's name may lead here, too."""
        host, _, port = self.headers.get("Host", "").partition(":")
        origin = self.headers.get("Origin")
        own = host in (LOOPBACK, "localhost") and port == str(self.connection.getsockname()[1])
        if own and origin in (None, f"http://{host}:{port}"):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this server answers its own pages alone")
        return False

    def _is_public(self, path: str) -> bool:
        parts = [part for part in unquote(path).split("/") if part]
        if parts in ([], ["index.html"]):
            return True
        if not parts[0].endswith(PAGE) or any(part in ("..", ".") or part.startswith(".") for part in parts):
            return False
        page = self.root / parts[0]
        file = page.joinpath(*parts[1:])
        return is_page(page) and file.is_file() and file.resolve().is_relative_to(page)

    def _marks_path(self, query: str) -> Path | None:
        """Where the marks of a mosaic lie that has a page."""
        stem = parse_qs(query).get("mosaic", [""])[0]
        if not stem or "/" in stem or "\\" in stem or "\0" in stem or not is_page(self.root / (stem + PAGE)):
            self._refuse(HTTPStatus.NOT_FOUND, "no such mosaic")
            return None
        return self.root / (stem + SUFFIX)

    def _answer(self, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        content = why.encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
