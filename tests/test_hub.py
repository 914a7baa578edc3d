"""From names to directories: presets, manifests, local parts, and a hub of our own on this machine.

The hub is a small HTTP server that speaks what `huggingface_hub` asks for. That library reads its
settings when it is imported, so what fetches runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import yue
from songs import run_values, song, write
from yue.codec.convert import CHECKPOINT, UPSAMPLERS
from yue.codec.upsamplers import load_upsamplers
from yue.codec.vocos import Vocos, VocosConfig
from yue.codec.xcodec import XCodec
from yue.errors import ModelError, OptionError
from yue.hub import MANIFEST, PRESETS, ModelSpec, fetch, write_manifest
from yue.lm.llama import Llama
from yue.rehearsal import write_random_model
from yue.tokenizer import BYTES_FILE, ByteTokenizer, load_tokenizer
from yue.vocab import TRACKS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of all parts, in a directory with a manifest."""
    return write_random_model(tmp_path_factory.mktemp("models") / "tiny", context=1024)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUE_CACHE", str(tmp_path / "cache"))


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets(name: str) -> None:
    spec = ModelSpec.make(name)
    assert spec is PRESETS[name]
    assert spec.name == name
    assert spec.references is (name.endswith("-icl") or name in ("random", "tiny"))


def test_published_names() -> None:
    assert ModelSpec.make("en").stage1 == "m-a-p/YuE-s1-7B-anneal-en-cot"
    assert ModelSpec.make("jp-kr-icl").stage1 == "m-a-p/YuE-s1-7B-anneal-jp-kr-icl"
    assert ModelSpec.make("zh").stage2 == "m-a-p/YuE-s2-1B-general"
    assert ModelSpec.make("zh").codec.startswith("m-a-p/xcodec_mini_infer@")


def test_a_spec_is_itself() -> None:
    spec = ModelSpec(stage1="org/one")
    assert ModelSpec.make(spec) is spec


@pytest.mark.parametrize("name", ["org/name", "org/name@v1.0", "org/name@refs/pr/7"])
def test_hub_ids(name: str) -> None:
    spec = ModelSpec.make(name)
    assert (spec.stage1, spec.name, spec.references) == (name, name, None)
    assert spec.stage2 == PRESETS["en"].stage2


@pytest.mark.parametrize(
    "name", ["english", "", "/no/such/dir", "./here/there", "a/b/c", "org/name@", "org/na me"]
)
def test_unknown_names_list_the_presets(name: str) -> None:
    with pytest.raises(ModelError, match="neither a preset") as caught:
        ModelSpec.make(name)
    assert repr(name) in str(caught.value)
    assert all(preset in str(caught.value) for preset in PRESETS)


# Directories ------------------------------------------------------------------------------------


def test_directory_with_manifest(model: Path) -> None:
    spec = ModelSpec.make(model)
    assert Path(spec.stage1) == model / "stage1"
    assert Path(spec.upsampler) == model / "upsampler"
    assert spec.tokenizer is not None
    assert Path(spec.tokenizer) == model
    assert (spec.references, spec.name) == (True, "random")


def test_manifest_mixes_places(tmp_path: Path) -> None:
    """Folders beside the manifest, hub ids, absolute paths; but `name` is never a path."""
    for folder in ("stage1", "voice", "tiny"):
        (tmp_path / folder).mkdir()
    write_manifest(
        tmp_path, stage1="stage1", stage2="org/two@v1", codec="/opt/codec", upsampler="random",
        adapters=["voice", "org/style"], name="tiny",
    )
    assert ModelSpec.make(str(tmp_path)) == ModelSpec(
        stage1=str(tmp_path / "stage1"), stage2="org/two@v1", codec="/opt/codec",
        upsampler="random", adapters=(str(tmp_path / "voice"), "org/style"), name="tiny",
    )


def test_manifest_that_names_a_missing_folder(tmp_path: Path) -> None:
    write_manifest(tmp_path, stage1="gone")
    with pytest.raises(ModelError, match=f"^stage1: {re.escape(str(tmp_path / 'gone'))} does not"):
        fetch(ModelSpec.make(tmp_path))


def test_directory_with_only_a_config(model: Path) -> None:
    spec = ModelSpec.make(model / "stage1")
    assert spec.stage1 == spec.name == str(model / "stage1")
    assert spec.stage2 == PRESETS["en"].stage2


def test_directory_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither yue\.json nor config\.json"):
        ModelSpec.make(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"stage1": "a/b", "stage3": "c/d"}, "unknown stage3; known are adapters, codec, compose"),
        ({"stage2": "a/b"}, "names no stage1"),
        (["a/b"], "names no stage1"),
        ({"stage1": "a/b", "codec": 5}, "5 is no part"),
    ],
)
def test_bad_manifest(tmp_path: Path, manifest: Any, message: str) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=message) as caught:
        ModelSpec.make(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / MANIFEST))


def test_manifest_with_an_unknown_part_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown part stage3"):
        write_manifest(tmp_path, stage1="a/b", stage3="c/d")
    assert not (tmp_path / MANIFEST).exists()


# The random model -------------------------------------------------------------------------------


def states(directory: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        file.relative_to(directory): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(directory.rglob("*")) if file.is_file()
    }


def test_random_model_is_made_once(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first = write_random_model(tmp_path / "tiny", context=64)
    made = states(first)
    assert write_random_model(tmp_path / "tiny", context=64) == first
    assert states(first) == made
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers stay"
    assert [entry.name for entry in tmp_path.iterdir()] == [first.name], "nothing else is left"


def test_random_model_is_the_same_everywhere_and_differs_by_seed(tmp_path: Path) -> None:
    here, there = (
        write_random_model(tmp_path / place / "tiny", context=64) for place in ("here", "there")
    )
    other = write_random_model(tmp_path / "here" / "tiny", seed=1, context=64)
    contents = [
        {name: data for name, (_, data) in states(place).items()} for place in (here, there, other)
    ]
    assert contents[0] == contents[1]
    weights = Path("stage1/model.safetensors")
    assert contents[0][weights] != contents[2][weights]


# Local parts ------------------------------------------------------------------------------------


def test_fetch_of_local_parts(model: Path) -> None:
    parts = fetch(ModelSpec.make(model))
    assert parts.stage1.path == model / "stage1"
    assert parts.as_dict()["stage1"] == {"source": str(model / "stage1"), "revision": None}
    assert isinstance(load_tokenizer(parts.tokenizer.path), ByteTokenizer)


def test_random_parts_lie_in_the_cache(tmp_path: Path) -> None:
    parts = fetch(PRESETS["random"])
    for part in (parts.stage1, parts.stage2, parts.codec, parts.upsampler, parts.tokenizer):
        assert part.path.is_dir()
        assert part.path.is_relative_to(tmp_path / "cache")
        assert (part.source, part.revision) == ("random", None)


def test_parts_of_several_models_load_together(model: Path) -> None:
    spec = ModelSpec(
        stage1=str(model / "stage1"), stage2="random", codec=str(model / "codec"),
        upsampler="random",
    )
    singer = yue.load(spec, device="cpu")
    assert singer.parts.stage1.path == singer.parts.tokenizer.path == model / "stage1"
    assert singer.parts.stage2.source == "random"
    assert singer.tokenizer.encode("ab") == [97, 98]
    assert singer.plan().peak > 0


def test_tokenizer_of_its_own(model: Path, tmp_path: Path) -> None:
    ByteTokenizer().save(tmp_path)
    spec = ModelSpec(
        stage1=str(model / "stage1"), stage2="random", codec="random", upsampler="random",
        tokenizer=str(tmp_path / BYTES_FILE),
    )
    assert yue.load(spec, device="cpu").tokenizer.encode("a") == [97]


@pytest.mark.parametrize("part", ["stage1", "stage2", "codec", "upsampler", "tokenizer"])
def test_missing_local_part_is_named(part: str) -> None:
    everything = dict.fromkeys(("stage1", "stage2", "codec", "upsampler"), "random")
    spec = ModelSpec(**{**everything, part: "/no/such/place"})
    with pytest.raises(ModelError, match=f"^{part}: /no/such/place does not exist"):
        yue.load(spec, device="cpu")


def save_published_upsamplers(directory: Path) -> None:
    """Pickles of full size when loaded, and tiny on disk: every tensor repeats one number."""
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in Vocos(VocosConfig()).state_dict().items()}
    for number, file in enumerate(UPSAMPLERS.values()):
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        fill = torch.full((1,), float(number + 1))
        state = {name: fill.expand(shape) for name, shape in shapes.items()}
        torch.save(state, directory / file)


def test_published_upsamplers_are_converted_once(tmp_path: Path) -> None:
    published = tmp_path / "published"
    save_published_upsamplers(published)
    spec = ModelSpec(stage1="random", stage2="random", codec="random", upsampler=str(published))
    part = fetch(spec).upsampler
    assert part.path.is_relative_to(tmp_path / "cache")
    assert part.source == str(published)
    loaded = load_upsamplers(part.path)
    assert [float(loaded[track].head.out.bias[0].detach()) for track in TRACKS] == [1.0, 2.0]
    written = (part.path / "config.json").stat().st_mtime_ns
    assert fetch(spec).upsampler == part
    assert (part.path / "config.json").stat().st_mtime_ns == written


def test_half_a_download_of_upsamplers(tmp_path: Path) -> None:
    first, second = (tmp_path / file for file in UPSAMPLERS.values())
    first.parent.mkdir()
    first.write_bytes(b"x")
    spec = ModelSpec(stage1="random", stage2="random", codec="random", upsampler=str(tmp_path))
    with pytest.raises(ModelError, match=f"lacks {second.name}"):
        fetch(spec)


def test_published_codec_goes_through_the_conversion(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).parent.mkdir()
    torch.save({"codec_model": {"fc_prior.bias": torch.ones(3)}}, tmp_path / CHECKPOINT)
    spec = ModelSpec(stage1="random", stage2="random", codec=str(tmp_path), upsampler="random")
    with pytest.raises(ModelError, match=r"ckpt_00360000\.pth lacks .* and \d+ more"):
        fetch(spec)


# A hub on this machine --------------------------------------------------------------------------


@dataclass
class Hub:
    """What the little hub serves, what goes wrong there, and what it was asked."""

    revisions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Repository -> branch or tag -> commit."""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Commit -> path -> content."""
    faults: dict[str, str] = field(default_factory=dict)
    """`repo/path` -> how its next download breaks off half-way: `close` or `reset`."""
    asked: list[str] = field(default_factory=list)
    """`repo/path` of each download."""
    url: str = ""

    def publish(self, repo: str, files: dict[str, bytes], name: str = "main") -> str:
        """A new commit of `repo`, under a branch or tag; returns its hash."""
        commit = hashlib.sha1(repr((repo, name, sorted(files.items()))).encode()).hexdigest()
        self.commits[commit] = files
        self.revisions.setdefault(repo, {})[name] = commit
        return commit

    def downloads(self) -> set[str]:
        """What was asked for since the last call."""
        paths = set(self.asked)
        self.asked.clear()
        return paths


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """A request handler for `hub`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/(.+)", path):
                self.describe(match[1], match[2], match[3])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.send_file(match[1], match[2], match[3])
            else:
                self.refuse("EntryNotFound")

        def commit_of(self, repo: str, revision: str) -> str | None:
            """The commit meant, or None after a refusal."""
            names = hub.revisions.get(repo)
            commit = names and (revision if revision in names.values() else names.get(revision))
            if commit is None:
                self.refuse("RevisionNotFound" if names else "RepoNotFound")
            return commit

        def describe(self, repo: str, what: str, revision: str) -> None:
            commit = self.commit_of(repo, revision)
            if commit is None:
                return
            files = hub.commits[commit]
            tree = [
                {"type": "file", "path": path, "size": len(data), "oid": etag(data)}
                for path, data in files.items()
            ]
            siblings = [{"rfilename": path} for path in files]
            answer = {"id": repo, "sha": commit, "siblings": siblings}
            body = json.dumps(tree if what == "tree" else answer).encode()
            self.begin(200, len(body), {"Content-Type": "application/json"})
            self.wfile.write(body)

        def send_file(self, repo: str, revision: str, path: str) -> None:
            commit = self.commit_of(repo, revision)
            if commit is None:
                return
            data = hub.commits[commit][path]
            asked = self.headers.get("Range")
            headers = {
                "ETag": f'"{etag(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes",
            }
            start = 0
            if asked:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.begin(206 if asked else 200, len(data) - start, headers)
            if self.command == "HEAD":
                return
            hub.asked.append(f"{repo}/{path}")
            if fault := hub.faults.pop(f"{repo}/{path}", None):
                self.wfile.write(data[: len(data) // 2])
                self.break_off(fault)
            else:
                self.wfile.write(data[start:])

        def break_off(self, fault: str) -> None:
            self.close_connection = True
            if fault == "reset":  # lingering for no time makes the system send a reset
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

        def refuse(self, code: str) -> None:
            self.begin(404, 0, {"X-Error-Code": code})

        def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


def etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


class Server(ThreadingHTTPServer):
    """Without the traceback that a connection broken on purpose would print."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    """The parts of the random model as repositories, each with a file that nobody needs."""
    hub = Hub()
    for part in ("stage1", "stage2", "codec", "upsampler"):
        files = {file.name: file.read_bytes() for file in (model / part).iterdir()}
        hub.publish(f"org/{part}", {**files, "README.md": b"read me", "extra/big.bin": b"no"})
    with Server(("127.0.0.1", 0), handler_of(hub)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield hub
        server.shutdown()
        thread.join()


LOCAL = {"stage1": "random", "stage2": "random", "codec": "random", "upsampler": "random"}
HUBBED = {part: f"org/{part}" for part in LOCAL}

FETCH_EACH = """
import json, sys
from yue.errors import ModelError
from yue.hub import ModelSpec, fetch

def told(spec):
    try:
        parts = fetch(ModelSpec(**spec))
    except ModelError as error:
        return {"error": str(error)}
    names = ("stage1", "stage2", "codec", "upsampler", "tokenizer")
    paths = {name: str(getattr(parts, name).path) for name in names}
    return {"parts": parts.as_dict(), "paths": paths}

print(json.dumps([told(spec) for spec in json.loads(sys.argv[1])]))
"""


def environment(url: str, home: Path, *, offline: bool = False) -> dict[str, str]:
    """Of a process whose hub this is, with its own caches."""
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    return kept | {
        "HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "YUE_CACHE": str(home / "yue"),
        "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "",
    }


def fetch_each(url: str, home: Path, *specs: dict[str, Any], offline: bool = False) -> list[Any]:
    """Fetch each spec in a fresh process with its own caches; parts, or the error's message."""
    done = subprocess.run(
        [sys.executable, "-c", FETCH_EACH, json.dumps(specs)],
        env=environment(url, home, offline=offline), capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_fetch_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    old = hub.publish("org/stage1", {"config.json": b'{"old": 1}'}, name="v0.1")
    hub.publish("org/pull", {"config.json": b'{"pull": 1}'}, name="refs/pr/3")
    hub.publish("org/empty", {"README.md": b"nothing here"})
    everything, tagged, pinned, empty, no_repo, no_revision = fetch_each(
        hub.url, tmp_path,
        HUBBED,
        {**LOCAL, "stage1": "org/stage1@v0.1", "stage2": "org/stage1@main"},
        {**LOCAL, "stage1": f"org/stage1@{old}"},
        {**LOCAL, "codec": "org/empty"},
        {**LOCAL, "upsampler": "org/nowhere"},
        {**LOCAL, "stage2": "org/stage2@v9"},
    )

    # The whole model: every part whole, nothing else, and the commits written down.
    assert not {path for path in hub.downloads() if path.endswith(("README.md", "big.bin"))}
    paths = {name: Path(path) for name, path in everything["paths"].items()}
    assert isinstance(Llama.load(paths["stage1"]), Llama)
    assert isinstance(Llama.load(paths["stage2"]), Llama)
    assert isinstance(XCodec.load(paths["codec"]), XCodec)
    assert load_upsamplers(paths["upsampler"]).keys() == set(TRACKS)
    assert paths["tokenizer"] == paths["stage1"]
    assert isinstance(load_tokenizer(paths["tokenizer"]), ByteTokenizer)
    for part in HUBBED:
        main = hub.revisions[f"org/{part}"]["main"]
        assert everything["parts"][part] == {"source": f"org/{part}", "revision": main}

    # A tag and a commit.
    for answer in (tagged, pinned):
        assert answer["parts"]["stage1"]["revision"] == old
        config = Path(answer["paths"]["stage1"]) / "config.json"
        assert json.loads(config.read_text()) == {"old": 1}
    assert tagged["parts"]["stage2"]["revision"] == hub.revisions["org/stage1"]["main"]

    # What is not there.
    assert empty["error"].startswith("codec: org/empty holds none of final_ckpt/")
    assert no_repo["error"].startswith("upsampler: the hub has no org/nowhere")
    assert no_revision["error"] == "stage2: org/stage2 has no revision 'v9' on the hub."


def test_interrupted_download(hub: Hub, tmp_path: Path) -> None:
    """A closed connection is taken up again at once; a reset one is an error, cured by a rerun.

    Files that came whole are kept between runs. (huggingface_hub 2 begins a cut file anew in the
    next run, earlier ones went on where it was cut: either is right.)
    """
    hub.faults["org/stage1/model.safetensors"] = "close"
    hub.faults["org/stage2/model.safetensors"] = "reset"
    failed, offline = (
        fetch_each(hub.url, tmp_path, HUBBED, offline=offline)[0] for offline in (False, True)
    )
    assert not hub.faults
    assert hub.asked.count("org/stage1/model.safetensors") == 2
    assert failed["error"].startswith("stage2: org/stage2 could not be fetched: ")
    assert failed["error"].endswith("kept; run the command again to go on.")
    assert offline["error"].startswith("stage2: org/stage2 is not, or not wholly, on this machine")

    hub.downloads()
    [again] = fetch_each(hub.url, tmp_path, HUBBED)
    assert isinstance(Llama.load(again["paths"]["stage1"]), Llama)
    assert isinstance(Llama.load(again["paths"]["stage2"]), Llama)
    downloads = hub.downloads()
    assert "org/stage2/model.safetensors" in downloads
    assert not {path for path in downloads if path.startswith("org/stage1")}


def test_without_a_connection(hub: Hub, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    [there] = fetch_each(hub.url, tmp_path, HUBBED)
    hub.downloads()
    cached, lacking = fetch_each(
        hub.url, tmp_path, HUBBED, {**LOCAL, "codec": "org/other"}, offline=True
    )
    assert cached == there
    assert not hub.downloads()
    assert "codec: org/other is not" in lacking["error"]
    assert "HF_HUB_OFFLINE is set" in lacking["error"]
    assert "yue models fetch" in lacking["error"]

    cached, lacking = fetch_each(nobody, tmp_path, HUBBED, {**LOCAL, "stage1": "org/other"})
    assert cached == there
    assert "stage1: org/other is not" in lacking["error"]
    assert "the hub cannot be reached" in lacking["error"]


def test_adapters_learn_on_a_checkpoint_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    """In one command, from records; the adapter names the hub's checkpoint as its base."""
    records = write(tmp_path / "records", [song(n) for n in range(2)])
    values = run_values(
        tmp_path / "run", records, lora={"rank": 2, "base": "fp32"},
        phases=[{"tokens": 2000, "context": 1000, "batch": 1000, "tasks": {"lyrics_to_song": 1}}],
    ) | {"model": {"start": "org/stage1"}}
    (tmp_path / "run.json").write_text(json.dumps(values))
    train = (
        "import json, sys, yue.train.loop as loop; from yue.train.config import RunOptions; "
        "loop.train(RunOptions.make(json.load(open(sys.argv[1]))))"
    )
    subprocess.run(
        [sys.executable, "-c", train, str(tmp_path / "run.json")],
        env=environment(hub.url, tmp_path), check=True, timeout=120,
    )
    made = tmp_path / "run" / "model"
    assert json.loads((made / "adapter_config.json").read_text())[
        "base_model_name_or_path"] == "org/stage1"
    assert (made / "adapter_model.safetensors").is_file()
