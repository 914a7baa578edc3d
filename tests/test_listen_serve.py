"""The desk and the server: votes kept, sessions resumed, nothing given away, nothing let in."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from listening import Clock, folders, vote_all
from yue.errors import FileError, OptionError
from yue.evaluate.listen import votes
from yue.evaluate.listen.desk import RELEASE, Desk, RefusedError
from yue.evaluate.listen.make import make
from yue.evaluate.listen.options import ListenOptions
from yue.evaluate.listen.serve import LARGEST_BODY, ListenServer

SYSTEMS = ("ours", "theirs", "others")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test for four raters, three pairs and two anchors each, two questions."""
    root = tmp_path_factory.mktemp("fresh")
    make(
        folders(root, seconds=1.0), root / "test", options=ListenOptions(raters=4, pairs=3, seed=1),
        aspects=["musicality", "vocals"],
    )
    return root / "test"


@pytest.fixture
def test_folder(fresh: Path, tmp_path: Path) -> Path:
    """A copy of it that nobody has voted on."""
    return Path(shutil.copytree(fresh, tmp_path / "test"))


@pytest.fixture
def server(test_folder: Path) -> Iterator[ListenServer]:
    """A real server on a free port that asks for no listening."""
    with ListenServer(Desk(test_folder, heard=0.0), port=0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def request(
    server: ListenServer, method: str, path: str, body: Any = None, token: str = "",
    **headers: str,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request as it stands: status, body, headers."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    heads = {"X-Rater": token, "Content-Type": "application/json", **headers}
    connection.request(method, path, sent, heads)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, data, reply.headers


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]


def only_votes(folder: Path) -> list[dict[str, Any]]:
    return [record for record in lines(folder) if record["kind"] == "vote"]


def ballot(view: dict[str, Any], answer: str = "A") -> dict[str, Any]:
    """A complete vote on the pair at hand."""
    return {
        "trial": view["trial"]["id"], "answers": {"musicality": answer, "vocals": "="},
        "heard": [song["seconds"] for song in view["trial"]["songs"]],
    }


def test_a_session_over_http(server: ListenServer, test_folder: Path) -> None:
    status, data, _ = request(server, "POST", "/api/join", {})
    token = json.loads(data)["token"]
    assert status == 200 and token in server.desk.tokens
    for done in range(5):
        view = json.loads(request(server, "GET", "/api/session", token=token)[1])
        assert (view["done"], view["total"]) == (done, 5)
        for one in view["trial"]["songs"]:
            status, audio, heads = request(server, "GET", f"/{one['url']}")
            assert status == 200 and audio[:4] == b"fLaC" and heads["Content-Type"] == "audio/flac"
        status, data, _ = request(server, "POST", "/api/vote", ballot(view, "B"), token)
        assert status == 200
    assert json.loads(data) == {"done": 5, "total": 5, "trial": None}
    assert [record["kind"] for record in lines(test_folder)] == ["join"] + ["open", "vote"] * 5
    assert all(record["answers"]["musicality"] == "B" for record in only_votes(test_folder))


def test_system_names_never_leave(server: ListenServer) -> None:
    """Everything that the server says in a whole session, heads included."""
    said = bytearray()
    for path in server.files:
        if not path.startswith("/audio"):
            status, data, heads = request(server, "GET", path)
            assert status == 200
            said += data + str(heads).encode()
    said += request(server, "GET", "/api/about")[1]
    token = json.loads(request(server, "POST", "/api/join", {})[1])["token"]
    view = json.loads(request(server, "GET", "/api/session", token=token)[1])
    while view["trial"]:
        said += json.dumps(view).encode()
        view = json.loads(request(server, "POST", "/api/vote", ballot(view), token)[1])
    for word in ("theirs", "others", "lowpass", "identical", '"ours"', "truth"):
        assert word.encode() not in said


@pytest.mark.parametrize("path", [
    "/key.json", "/test.json", "/votes.jsonl", "/../key.json", "/audio/../key.json",
    "/audio/..%2fkey.json", "/%2e%2e/key.json", "//key.json", "/audio/", "/audio",
    "/serve.py", "/page/../serve.py", "/....//key.json", "/audio/\\..\\key.json", "/api/",
    "/etc/passwd", "//etc/passwd", "/audio/%00",
])
def test_no_path_leads_out(server: ListenServer, path: str) -> None:
    status, data, _ = request(server, "GET", path)
    assert status == 404 and json.loads(data) == {"error": "There is no such page."}


def test_guards(server: ListenServer) -> None:
    _, page, heads = request(server, "GET", "/")
    assert b"<!doctype html>" in page and b"http://" not in page.replace(b"http://www.w3.org", b"")
    assert "script-src 'self'" in heads["Content-Security-Policy"]
    assert heads["X-Content-Type-Options"] == "nosniff"
    assert heads["Referrer-Policy"] == "no-referrer"
    assert "Python" not in str(heads)
    assert request(server, "GET", "/?x=1")[1] == page


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"Content-Length": "x"}, 411),
        (b"{}", {"Content-Length": "-1"}, 411),
        (b"", {"Content-Length": str(LARGEST_BODY + 1)}, 413),
        (b"", {"Content-Length": "9" * 5000}, 413),
        (b"not json", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[1, 2]", {}, 400),
        (b"[" * 60_000, {}, 400),
    ],
)
def test_bad_bodies(
    server: ListenServer, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, data, _ = request(server, "POST", "/api/vote", body, server.desk.tokens[0], **headers)
    assert found == status and "error" in json.loads(data)
    assert request(server, "GET", "/api/about")[0] == 200


def test_bad_votes(server: ListenServer, test_folder: Path) -> None:
    token, other = server.desk.tokens[:2]
    view = json.loads(request(server, "GET", "/api/session", token=token)[1])
    good = ballot(view)
    cases: list[tuple[dict[str, Any], str, int]] = [
        (good, "wrong", 403),
        (good, "", 403),
        (good, other, 409),
        ({**good, "trial": "ffff"}, token, 409),
        ({**good, "trial": ["x"]}, token, 409),
        ({**good, "answers": {"musicality": "A"}}, token, 400),
        ({**good, "answers": {"musicality": "A", "vocals": "C"}}, token, 400),
        ({**good, "answers": {"musicality": "A", "vocals": ["A"]}}, token, 400),
        ({**good, "answers": {**good["answers"], "more": "A"}}, token, 400),
        ({**good, "answers": None}, token, 400),
        ({**good, "heard": [1]}, token, 400),
        ({**good, "heard": [1, float("nan")]}, token, 400),
        ({**good, "heard": [True, 1]}, token, 400),
        ({**good, "comment": 7}, token, 400),
        ({}, token, 409),
    ]
    for body, who, status in cases:
        assert request(server, "POST", "/api/vote", body, who)[0] == status, body
    assert not only_votes(test_folder)
    later = server.desk.test["raters"][0]["trials"][2]["id"]
    assert request(server, "POST", "/api/vote", {**good, "trial": later}, token)[0] == 409
    long = {**good, "comment": "x" * 5000}
    assert request(server, "POST", "/api/vote", long, token)[0] == 200
    assert len(only_votes(test_folder)[0]["comment"]) == 1000


def test_the_first_vote_stands(server: ListenServer, test_folder: Path) -> None:
    """A vote sent twice, as after a lost reply, is kept once; another answer is refused."""
    token = server.desk.tokens[0]
    view = json.loads(request(server, "GET", "/api/session", token=token)[1])
    first, again = (request(server, "POST", "/api/vote", ballot(view), token) for _ in range(2))
    assert first[:2] == again[:2]
    assert request(server, "POST", "/api/vote", ballot(view, "B"), token)[0] == 409
    assert len(only_votes(test_folder)) == 1


def test_raters_at_the_same_time(server: ListenServer, test_folder: Path) -> None:
    """Four raters join and vote at once: each gets a place, no record is lost or torn."""
    barrier = threading.Barrier(4)

    def take_part(_: int) -> str:
        barrier.wait()
        token = str(json.loads(request(server, "POST", "/api/join", {})[1])["token"])
        view = json.loads(request(server, "GET", "/api/session", token=token)[1])
        while view["trial"]:
            view = json.loads(request(server, "POST", "/api/vote", ballot(view), token)[1])
        return token

    with ThreadPoolExecutor(4) as pool:
        tokens = set(pool.map(take_part, range(4)))
    assert tokens == set(server.desk.tokens)
    kept = only_votes(test_folder)
    assert len({(record["rater"], record["trial"]) for record in kept}) == len(kept) == 20
    status, data, _ = request(server, "POST", "/api/join", {})
    assert status == 409 and "taken" in json.loads(data)["error"]


def test_votes_are_only_ever_appended(test_folder: Path) -> None:
    desk, before = Desk(test_folder, heard=0.0), b""
    for token in desk.tokens:
        while desk.session(token)["trial"]:
            vote_all(desk, token, lambda *_: "A", most=1)
            data = (test_folder / "votes.jsonl").read_bytes()
            assert data.startswith(before) and len(data) > len(before)
            before = data


def test_resume_after_a_restart(test_folder: Path) -> None:
    first = Desk(test_folder, heard=0.0)
    token = first.join()
    vote_all(first, token, lambda *_: "A", most=2)
    waiting = first.session(token)
    second = Desk(test_folder, heard=0.0)
    assert second.session(token) == waiting and waiting["done"] == 2
    assert second.join() != token
    assert vote_all(second, token, lambda *_: "B") == 3
    assert second.session(token)["trial"] is None


def test_a_votes_file_cut_in_the_middle_of_a_line(test_folder: Path) -> None:
    desk = Desk(test_folder, heard=0.0)
    token = desk.join()
    vote_all(desk, token, lambda *_: "A", most=2)
    path = test_folder / "votes.jsonl"
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in (last + 1, last + 20, len(whole) - 2):
        path.write_bytes(whole[:cut])
        again = Desk(test_folder, heard=0.0)
        number = whole[:last].count(b"\n") + 1
        assert again.damaged == (number,)
        vote_all(again, token, lambda *_: "B")
        journal = votes.read(path)
        assert journal.damaged == (number,)
        kept = {record["trial"] for record in journal.records if record["kind"] == "vote"}
        assert len(kept) == 5
    # Only the end of the line is missing: nothing is lost.
    path.write_bytes(whole[:-1])
    again = Desk(test_folder, heard=0.0)
    assert not again.damaged
    vote_all(again, token, lambda *_: "B")
    assert not votes.read(path).damaged
    assert len(only_votes(test_folder)) == 5


@pytest.mark.parametrize("line", [
    b"", b"   ", b"null", b"[]", b'{"kind": "vote"}', b'{"kind": "party", "rater": 1}', b"\xff\xfe",
    b'{"kind": "vote", "rater": "x", "trial": "y", "answers": {}}', b'{"kind": ["vote"]}',
    b'{"kind": "open", "rater": 1, "trial": "y", "time": null}',
    b'{"kind": "vote", "rater": 1, "trial": "y", "answers": {}, "seconds": "soon"}',
])
def test_lines_that_are_no_records(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(line + b"\n")
    votes.append(path, {"kind": "join", "rater": 0})
    journal = votes.read(path)
    assert [record["rater"] for record in journal.records] == [0]
    assert journal.damaged == ((1,) if line.strip() else ())


def test_both_songs_must_be_heard(test_folder: Path) -> None:
    """Neither a short count nor a count without the time for it will do."""
    clock = Clock()
    desk = Desk(test_folder, heard=3.0, clock=clock)  # songs of 1 s: as if 3 s of each
    token = desk.join()
    view = desk.session(token)
    good = {**ballot(view), "heard": [3.0, 3.0]}
    for wait, heard in ((100.0, [3.0, 1.5]), (100.0, [0.0, 3.0]), (3.5, [3.0, 3.0])):
        clock.now = 1_000.0 + wait
        with pytest.raises(RefusedError, match="Hear both songs"):
            desk.vote(token, {**good, "heard": heard})
    clock.now = 1_004.5
    # The pair was opened before a restart; the time since then counts.
    again = Desk(test_folder, heard=3.0, clock=clock)
    assert again.vote(token, good)["done"] == 1
    assert only_votes(test_folder)[0]["seconds"] == 4.5


def test_a_vote_in_the_same_millisecond(test_folder: Path) -> None:
    """The journal rounds the time of the opening up; that is no time to wait for."""
    clock = Clock()
    clock.now = 1_000.0006
    desk = Desk(test_folder, heard=0.0, clock=clock)
    token = desk.join()
    assert desk.vote(token, ballot(desk.session(token)))["done"] == 1


def test_by_invitation(test_folder: Path) -> None:
    desk = Desk(test_folder, heard=0.0, invited=True)
    with pytest.raises(RefusedError, match="invitation"):
        desk.join()
    assert not desk.about()["open"]
    assert desk.session(desk.tokens[2])["trial"]


def test_a_place_without_a_vote_is_free_again(test_folder: Path) -> None:
    clock = Clock()
    desk = Desk(test_folder, heard=0.0, clock=clock)
    tokens = [desk.join() for _ in desk.tokens]
    assert desk.vote(tokens[0], ballot(desk.session(tokens[0])))["done"] == 1
    with pytest.raises(RefusedError, match="All places"):
        desk.join()
    clock.now += RELEASE
    desk = Desk(test_folder, heard=0.0, clock=clock)
    assert [desk.join() for _ in tokens[1:]] == tokens[1:]
    with pytest.raises(RefusedError, match="All places"):
        desk.join()


def test_half_a_character_costs_no_vote(server: ListenServer, test_folder: Path) -> None:
    token = server.desk.tokens[0]
    view = json.loads(request(server, "GET", "/api/session", token=token)[1])
    status, _, _ = request(
        server, "POST", "/api/vote", {**ballot(view), "comment": "bad \ud83d"}, token
    )
    assert status == 200 and only_votes(test_folder)[0]["comment"] == "bad ?"


def test_whatever_goes_wrong_is_answered(
    server: ListenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.desk, "about", lambda: 1 / 0)
    status, data, _ = request(server, "GET", "/api/about")
    assert status == 500 and "load the page anew" in json.loads(data)["error"]


def test_every_address_is_told_as_this_machine_s(test_folder: Path) -> None:
    with ListenServer(Desk(test_folder), host="0.0.0.0", port=0) as server:
        assert server.links()[0].startswith("http://") and "0.0.0.0" not in server.links()[0]


def test_a_full_disk_loses_no_vote_and_says_so(
    server: ListenServer, test_folder: Path
) -> None:
    """The journal cannot be written: the rater is told, the vote is not counted, then it works."""
    token = server.desk.tokens[0]
    view = json.loads(request(server, "GET", "/api/session", token=token)[1])
    path = test_folder / "votes.jsonl"
    aside = path.rename(test_folder / "aside")
    path.mkdir()
    status, data, _ = request(server, "POST", "/api/vote", ballot(view), token)
    assert status == 500 and "try again" in json.loads(data)["error"]
    path.rmdir()
    aside.rename(path)
    assert request(server, "POST", "/api/vote", ballot(view), token)[0] == 200
    assert len(only_votes(test_folder)) == 1


def test_folders_that_are_no_test(tmp_path: Path, test_folder: Path) -> None:
    with pytest.raises(FileError, match="yue listen make"):
        Desk(tmp_path)
    next((test_folder / "audio").iterdir()).unlink()
    with pytest.raises(FileError, match="lacks 1 songs"):
        Desk(test_folder)
    public = json.loads((test_folder / "test.json").read_text())
    (test_folder / "test.json").write_text(json.dumps({**public, "format": 99}))
    with pytest.raises(FileError, match="format 99"):
        Desk(test_folder)
    for held, told in (([], "a JSON object is expected"), ({"format": 1}, "lacks aspects, files")):
        (test_folder / "test.json").write_text(json.dumps(held))
        with pytest.raises(FileError, match=told):
            Desk(test_folder)


def test_a_port_that_is_taken(server: ListenServer) -> None:
    with pytest.raises(OptionError, match="another --port"):
        ListenServer(server.desk, port=server.server_address[1])
    with pytest.raises(OptionError, match="another --port"):
        ListenServer(server.desk, port=99_999)
    assert server.links("https://x.org/t/")[0] == f"https://x.org/t/#{server.desk.tokens[0]}"
