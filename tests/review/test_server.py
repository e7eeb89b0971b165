"""The server answers this machine alone, of its folder alone, and keeps what is marked."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.review.marks import read_marks
from rcm_cascade.review.server import LOOPBACK, Server
from tests.review.pages import write
from tests.review.test_marks import ROW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("served") / "out"
    write(out, "a b#1.tif", height=300, width=400)
    (out / "secret.txt").write_text("secret")
    (out / "a b#1.page" / "link.txt").symlink_to(out / "secret.txt")
    (out.parent / "outside.page").mkdir()
    (out.parent / "outside.page" / "index.html").write_text("outside")
    return out


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder, 0) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: Server, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    sent = {"Host": f"{LOOPBACK}:{port}", "Content-Length": str(len(body or b""))} | {
        key.replace("_", "-"): value for key, value in headers.items()
    }
    for key, value in sent.items():
        connection.putheader(key, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


PAGE = quote("/a b#1.page/")


def test_pages_are_served_and_load_nothing_from_elsewhere(server: Server) -> None:
    for path, what in (("/", b"Pattern maps"), ("/index.html", b"a b#1"), (PAGE + "index.html", b"no diagnosis")):
        status, content, headers = ask(server, path)
        assert (status, what in content) == (200, True)
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert b"http://" not in content.replace(b"http://www.w3.org", b"")
    assert server.server_address[0] == LOOPBACK
    assert ask(server, PAGE + "image/0/0_0.jpg")[2]["Content-type"] == "image/jpeg"
    assert ask(server, PAGE + "index.html", "HEAD")[1] == b""


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/../outside.page/index.html", "/..%2foutside.page/index.html", PAGE + "../secret.txt",
        PAGE + "%2e%2e/secret.txt", PAGE + "link.txt", PAGE, PAGE + "image", "/a%20b%231.json", "/none.page/x",
        "/%00.page/index.html", "/marks", "/marks?mosaic=../outside", "/marks?mosaic=none",
    ],
)  # fmt: skip
def test_nothing_else_is(server: Server, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert ask(server, path, method)[0] in (404, 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": "evil.example:{port}"}, {"Host": ""}, {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"}, {"Origin": "null"},
    ],
)  # fmt: skip
def test_other_names_and_origins_are_refused(server: Server, headers: dict[str, str], folder: Path) -> None:
    headers = {key: value.format(port=server.server_address[1]) for key, value in headers.items()}
    assert ask(server, "/index.html", "GET", None, **headers)[0] == 403
    body = json.dumps([ROW]).encode()
    where = "/marks?mosaic=" + quote("a b#1")
    assert ask(server, where, "POST", body, Content_Type="application/json", **headers)[0] == 403
    assert not list(folder.glob("*.marks.csv"))


def test_marks_are_kept_beside_the_page(server: Server, folder: Path) -> None:
    where = "/marks?mosaic=" + quote("a b#1")
    assert json.loads(ask(server, where)[1]) == []
    body = json.dumps([{**ROW, "note": "x"}]).encode()
    assert ask(server, where, "POST", body, Content_Type="application/json")[0] == 200
    assert json.loads(ask(server, where)[1])[0]["note"] == "x"
    path = folder / "a b#1.marks.csv"
    assert read_marks(path)[0]["mark"] == "agree"
    for wrong, kind in ((b"{", "application/json"), (b"[1]", "application/json"), (body, "text/plain")):
        assert ask(server, where, "POST", wrong, Content_Type=kind)[0] == 400
    assert ask(server, where, "POST", b" " * (2**20 + 1), Content_Type="application/json")[0] == 413
    assert ask(server, "/index.html", "POST", body, Content_Type="application/json")[0] == 400
    assert read_marks(path)[0]["note"] == "x"
    path.unlink()


def test_what_cannot_be_served_is_one_sentence(server: Server, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no page"):
        Server(tmp_path, 0)
    with pytest.raises(InputError, match="is no folder"):
        Server(tmp_path / "none", 0)
    with pytest.raises(InputError, match="choose another with --port"):
        Server(folder, server.server_address[1])
