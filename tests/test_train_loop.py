"""The loop: exact resume, checkpoints, reports, refusals, and a model that sings what it learnt."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from songs import CODES, run_values, song, write
from yue import stage1, stage2
from yue.cli import verbs
from yue.data.records import RecordError
from yue.draft import Draft, Sung
from yue.errors import FileError, OptionError
from yue.lm.llama import Llama
from yue.options import ComposeOptions
from yue.prompt import build_prompt
from yue.tokenizer import PhonemeTokenizer, load_tokenizer
from yue.train import checkpoint, loop, report
from yue.train.config import RunOptions
from yue.train.export import export
from yue.train.loop import TrainingError, train
from yue.train.plan import plan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("records"), [song(n) for n in range(4)])


def options(folder: Path, records: Path, **changes: Any) -> RunOptions:
    return RunOptions.make(run_values(folder, records, **changes))


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in report.read(folder) if "loss" in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """To the last digit."""
    assert losses(one) == losses(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


# A run and going on with it -----------------------------------------------------------------------

@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, data: Path, optimiser: str
) -> None:
    told: dict[str, Any] = {
        "guide": {"weight": 0.5}, "harmony": {"weight": 0.2}, "optimiser": {"name": optimiser},
    }
    whole = train(options(tmp_path / "whole", data, **told))
    pieces = options(tmp_path / "pieces", data, **told)
    for steps in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            train(pieces, resume=True, tell=terminated_at(steps))
        assert len(losses(tmp_path / "pieces")) == steps
    train(pieces, resume=True)
    assert_same_run(whole, tmp_path / "pieces")
    assert len(losses(whole)) == 6


def terminated_at(step: int) -> loop.Tell:
    """Sends this process what a scheduler sends, after some step."""
    def tell(done: int, total: int, words: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return tell


def test_learning_lowers_the_loss_and_the_pointer(tmp_path: Path, data: Path) -> None:
    made = options(
        tmp_path / "run", data, guide={"weight": 0.5},
        phases=[{"tokens": 40 * 400, "context": 400, "batch": 400, "rate": 1e-2,
                 "mask": "target", "tasks": {"lyrics_to_song": 1}}],
    )
    lines = [line for line in report.read(train(made)) if "loss" in line]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert lines[-1]["guide"] < 0.8 * lines[0]["guide"]
    assert set(lines[0]["losses"]["lyrics_to_song"]) == {"text", "vocals", "accompaniment"}
    assert lines[0]["rate"] == 1e-2 and lines[0]["tokens_per_second"] > 0
    assert (tmp_path / "run" / report.PLOT).stat().st_size > 5000


def test_minutes_stop_with_a_checkpoint(tmp_path: Path, data: Path) -> None:
    made = options(tmp_path / "run", data)
    train(made, minutes=1e-9)
    assert checkpoint.named(tmp_path / "run" / loop.CHECKPOINTS, checkpoint.LATEST) is None
    assert losses(tmp_path / "run") == []
    train(made, resume=True)
    assert len(losses(tmp_path / "run")) == 6


def test_newest_and_best_checkpoints_are_kept(tmp_path: Path, data: Path) -> None:
    made = options(
        tmp_path / "run", data, data={"valid": [str(data)]},
        loop={"save_every": 1, "keep": 2, "validate_every": 1, "valid_rows": 2, "patience": 2},
        phases=[{"tokens": 30 * 400, "context": 400, "batch": 400, "rate": 0.3,
                 "tasks": {"lyrics_to_song": 1}}],
    )
    folder = train(made)
    lines = report.read(folder)
    valid = {line["step"]: line["valid"]["loss"] for line in lines if "valid" in line}
    best = min(valid, key=lambda step: valid[step])
    steps = max(valid)
    assert steps == best + 2 < 30, "stopped after two validations without gain"
    kept = sorted(p.name for p in (folder / loop.CHECKPOINTS).glob("step_*"))
    assert kept == [f"step_{n:08d}" for n in sorted({best, steps - 1, steps})]
    assert checkpoint.named(folder / loop.CHECKPOINTS, checkpoint.BEST).name == kept[0]
    export(folder, tmp_path / "best", best=True)
    export(folder, tmp_path / "newest")
    best_head, newest_head = (
        load_file(tmp_path / name / "model.safetensors")["lm_head.weight"]
        for name in ("best", "newest")
    )
    assert not torch.equal(newest_head, best_head)
    assert torch.equal(weights(folder)["lm_head.weight"], best_head), "the model is the best one"
    train(made, resume=True)
    assert report.read(folder) == lines, "a run that validation stopped stays stopped"


def test_harmony_is_learnt_and_leaves_a_plain_llama(tmp_path: Path, data: Path) -> None:
    made = options(
        tmp_path / "run", data, harmony={"weight": 0.5}, guide={"weight": 0.1},
        phases=[{"tokens": 40 * 400, "context": 400, "batch": 400, "rate": 1e-2,
                 "mask": "target", "tasks": {"lyrics_to_song": 1}}],
    )
    lines = [line for line in report.read(train(made)) if "loss" in line]
    assert lines[-1]["harmony"] < 0.8 * lines[0]["harmony"]
    plain = load_file(tmp_path / "run" / loop.MODEL / "model.safetensors")
    assert not any("readers" in name for name in plain)
    Llama.load(tmp_path / "run" / loop.MODEL)


def test_losses_of_another_phase_do_not_end_a_run(tmp_path: Path, data: Path) -> None:
    one = {"tokens": 4 * 400, "context": 400, "batch": 400, "tasks": {"lyrics_to_song": 1}}
    made = options(
        tmp_path / "run", data, data={"valid": [str(data)]},
        loop={"validate_every": 1, "valid_rows": 2, "patience": 3},
        phases=[{**one, "name": "a", "rate": 1e-2, "tasks": {"vocals_only": 1}},
                {**one, "name": "b", "rate": 1e-4}],
    )
    valid = [line["valid"]["loss"] for line in report.read(train(made)) if "valid" in line]
    assert len(valid) == 8
    best = checkpoint.named(tmp_path / "run" / loop.CHECKPOINTS, checkpoint.BEST)
    assert best is not None and int(best.name[-8:]) > 4


def test_a_run_goes_on_from_the_newest_whole_checkpoint(tmp_path: Path, data: Path) -> None:
    made = options(tmp_path / "run", data, loop={"save_every": 2, "keep": 3})
    train(made)
    whole, folder = losses(tmp_path / "run"), tmp_path / "run" / loop.CHECKPOINTS
    newest = checkpoint.named(folder, checkpoint.LATEST)
    assert newest is not None
    (newest / checkpoint.STATE).unlink()
    train(made, resume=True)
    assert losses(tmp_path / "run") == whole
    for path in folder.glob("step_*"):
        shutil.rmtree(path)
    with pytest.raises(FileError, match="no whole checkpoint left"):
        train(made, resume=True)


def test_tensorboard(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("tensorboard")
    made = options(tmp_path / "run", data, loop={"tensorboard": True})
    train(made)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    told = [event.value for event in events.Scalars("loss")]
    assert told == pytest.approx(losses(tmp_path / "run"), rel=1e-6)


def test_recomputing_keeps_less(tmp_path: Path, data: Path) -> None:
    kept = [
        plan(options(tmp_path / "run", data, loop={"recompute": recompute}))["phases"][0]
        for recompute in (False, True)
    ]
    assert kept[1]["activations_bytes"] < 0.6 * kept[0]["activations_bytes"]


def test_a_dry_run_trains_nothing(tmp_path: Path, data: Path) -> None:
    made = options(tmp_path / "run", data)
    told = plan(made)
    assert not (tmp_path / "run").exists()
    (phase,) = told["phases"]
    assert told["steps"] == phase["steps"] == 6 and phase["rows_per_step"] == 2
    assert 0.5 < phase["filled"] <= 1
    assert sum(phase["tokens_per_task"].values()) == pytest.approx(phase["tokens"], abs=2)
    folder = train(made)
    counted = report.read(folder)[-1]["tokens"]
    assert phase["tokens"] == pytest.approx(counted, rel=0.1)
    trained = sum(t.numel() for t in weights(folder).values())
    assert told["parameters"]["trained"] == trained
    assert told["memory"]["weights_and_optimiser_bytes"] == 16 * trained
    assert phase["tokens_per_second"] > 0
    # At the least what every layer reads and what its MLP multiplies, in fp32.
    least = phase["context"] * 0.5 * 3 * (32 + 3 * 64) * 4
    assert least < phase["activations_bytes"] < 20 * least


# Bad input ----------------------------------------------------------------------------------------

def test_a_folder_that_exists_is_refused(tmp_path: Path, data: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").touch()
    with pytest.raises(OptionError, match="run exists: go on with --resume, or"):
        train(options(tmp_path / "run", data))


def test_a_run_cannot_become_another_model(tmp_path: Path, data: Path) -> None:
    train(options(tmp_path / "run", data), minutes=1e-9)
    with pytest.raises(OptionError, match="has another model"):
        train(options(tmp_path / "run", data, model={"hidden_size": 64}), resume=True)


def test_a_start_that_fails_takes_no_folder(tmp_path: Path, data: Path) -> None:
    with pytest.raises(OptionError, match="no song has what text_to_speech needs"):
        train(options(tmp_path / "run", write(tmp_path / "mute", [song(0, transcript="")]),
                      phases=[{"tokens": 400, "context": 400, "batch": 400,
                               "tasks": {"text_to_speech": 1}}]))
    with pytest.raises(OptionError, match="patience = 2, and no song is there to validate"):
        train(options(tmp_path / "run", data, loop={"validate_every": 1, "patience": 2}))
    assert not (tmp_path / "run").exists()
    train(options(tmp_path / "run", data), minutes=1e-9)


def test_every_song_of_a_validation_folder_counts(tmp_path: Path, data: Path) -> None:
    """Whatever its id, and where some task of the mixture finds no song."""
    other = write(tmp_path / "valid", [song(n, transcript="") for n in range(3)])
    made = options(
        tmp_path / "run", data, data={"valid": [str(other)], "split": True},
        loop={"validate_every": 1, "valid_rows": 2},
        phases=[{"tokens": 2 * 400, "context": 400, "batch": 400, "rate": 1e-3,
                 "tasks": {"lyrics_to_song": 1, "text_to_speech": 1}}],
    )
    trainer = loop.Trainer(made, loop.distributed.start(), resume=False)
    assert trainer.valid is not None and len(trainer.valid.songs) == 3
    trainer.run(None, lambda: False, None)
    valid = [line["valid"] for line in report.read(tmp_path / "run") if "valid" in line]
    assert len(valid) == 2
    assert all(set(line) == {"loss", "lyrics_to_song"} for line in valid)


def test_the_command_line_says_how_to_go_on(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toml(tmp_path / "run.toml", run_values(tmp_path / "run", data))
    verbs.app(["train", str(config), "--minutes", "1e-9"], result_action="return_value")
    assert "time is up after step 0 of 6; the same command with --resume" in capsys.readouterr().err
    verbs.app(["train", str(config), "--resume"], result_action="return_value")
    assert "--resume" not in capsys.readouterr().err


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, data: Path) -> None:
    phases = [{"tokens": 400_000, "context": 400, "batch": 400, "tasks": {"lyrics_to_song": 1}}]
    config = toml(tmp_path / "run.toml", run_values(tmp_path / "run", data, phases=phases))
    process = subprocess.Popen(
        [sys.executable, "-m", "yue", "train", str(config)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert re.search(r"interrupted after step \d+ of 1000; the same command with --resume", told)
    assert checkpoint.named(tmp_path / "run" / loop.CHECKPOINTS, checkpoint.LATEST) is not None


def test_a_corrupt_shard(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", [song(0)])
    file = folder / "songs.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"songs.parquet is not a whole file of records"):
        train(options(tmp_path / "run", folder))


def test_codes_out_of_range(tmp_path: Path) -> None:
    bad = song(1)
    bad.codes["vocals"][0, 5] = CODES
    folder = write(tmp_path / "data", [song(0), bad])
    told = rf"songs.parquet, row 1: record 'song-1': codes.vocals: \d+..{CODES}, allowed is 0..31"
    with pytest.raises(RecordError, match=told):
        train(options(tmp_path / "run", folder))


def test_no_songs(tmp_path: Path, data: Path) -> None:
    with pytest.raises(FileError, match="no Parquet file of records there"):
        train(options(tmp_path / "run", tmp_path / "nowhere"))
    with pytest.raises(OptionError, match="spells no phones"):
        train(options(tmp_path / "b", data, model={"tokenizer": "bytes"}, guide={"weight": 1.0}))
    for name in ("guide", "harmony"):
        with pytest.raises(OptionError, match=rf"{name}\.layers = \[3\]: the model has 3"):
            train(options(tmp_path / "b", data, **{name: {"weight": 1.0, "layers": [3]}}))


def test_a_loss_that_is_no_number(tmp_path: Path, data: Path) -> None:
    """A rate that blows up: stops, names the songs, and the last good checkpoint stays whole."""
    made = options(tmp_path / "run", data, loop={"save_every": 1},
                   optimiser={"clip": 0.0}, phases=[{
                       "tokens": 50 * 400, "context": 400, "batch": 400, "rate": 1.0,
                       "warmup": 0.5, "start": 1e-3, "tasks": {"lyrics_to_song": 1}}])
    trainer = loop.Trainer(made, loop.distributed.start(), resume=False)
    real = loop.optimise.set_rate

    def explode(optimisers: Any, rate: float) -> None:
        real(optimisers, 1e38 if trainer.step == 3 else 1e-3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.optimise, "set_rate", explode)
        with pytest.raises(TrainingError, match=r"step 4: loss .*song-\d.*step_00000004") as told:
            trainer.run(None, lambda: False, None)
    assert "Nothing was updated or saved" in str(told.value)
    assert [line["step"] for line in report.read(tmp_path / "run")] == [1, 2, 3, 4]
    kept = checkpoint.named(tmp_path / "run" / loop.CHECKPOINTS, checkpoint.LATEST)
    assert kept.name == "step_00000004"


def test_a_full_disk(tmp_path: Path, data: Path) -> None:
    """Files may not grow beyond a limit: the older checkpoint stays, the new one leaves nothing."""
    made = options(tmp_path / "run", data, loop={"save_every": 2})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def shrink(done: int, total: int, words: str) -> None:
        if done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(FileError, match=r"could not write the checkpoint .*--resume"):
            train(made, tell=shrink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = tmp_path / "run" / loop.CHECKPOINTS
    assert [p.name for p in folder.glob("step_*")] == ["step_00000002"]
    train(made, resume=True)
    assert len(losses(tmp_path / "run")) == 6


def test_a_damaged_checkpoint(tmp_path: Path, data: Path) -> None:
    made = options(tmp_path / "run", data, loop={"save_every": 2})
    folder = train(made)
    path = checkpoint.named(folder / loop.CHECKPOINTS, checkpoint.LATEST)
    file = next(path.glob("*.distcp"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(FileError, match="cannot be read into this model"):
        export(folder, tmp_path / "out")


def test_a_checkpoint_cannot_run_code(tmp_path: Path, data: Path) -> None:
    import pickle

    folder = train(options(tmp_path / "run", data))
    path = checkpoint.named(folder / loop.CHECKPOINTS, checkpoint.LATEST)

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("touch " + str(tmp_path / "ran"),)

    (path / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FileError, match="system does not belong into a checkpoint"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


# Export -------------------------------------------------------------------------------------------

def test_transformers_loads_the_export_with_equal_logits(tmp_path: Path, data: Path) -> None:
    folder = train(options(tmp_path / "run", data))
    out = export(folder, tmp_path / "out")
    ours, twin = Llama.load(out), LlamaForCausalLM.from_pretrained(out)
    ids = torch.randint(0, ours.config.vocab_size, (1, 40))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), twin(ids).logits, atol=1e-5, rtol=1e-5)
    assert isinstance(load_tokenizer(out), PhonemeTokenizer)
    assert ours.config.vocabulary.codebook_size == CODES
    with pytest.raises(FileError, match="out exists"):
        export(folder, out)
    with pytest.raises(FileError, match="is no run folder"):
        export(tmp_path, tmp_path / "out2")


# Many processes -----------------------------------------------------------------------------------

Ranks = list[subprocess.Popen[str]]


def launch(config: Path, ranks: int, *more: str) -> Ranks:
    """The processes that torchrun would start, each ours to kill."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-m", "yue", "train", str(config), *more]
    return [
        subprocess.Popen(
            command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]


def finish(ranks: Ranks) -> None:
    for process in ranks:
        _, told = process.communicate(timeout=600)
        assert process.returncode == 0, told


def kill_at(ranks: Ranks, mark: Path) -> None:
    """SIGKILL for all as soon as `mark` is there."""
    while not mark.exists():
        assert all(process.poll() is None for process in ranks)
        time.sleep(0.005)
    for process in ranks:
        process.kill()
    for process in ranks:
        process.communicate()


def toml(path: Path, values: dict[str, Any]) -> Path:
    """Nested plain values as TOML."""
    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value)

    path.write_text("".join(f"{name} = {inline(value)}\n" for name, value in values.items()))
    return path


@pytest.mark.slow
def test_torchrun_starts_it(tmp_path: Path, data: Path) -> None:
    """And two processes learn what one learns."""
    config = toml(tmp_path / "run.toml", run_values(tmp_path / "two", data))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "yue", "train", str(config),
    ]
    subprocess.run(command, check=True, capture_output=True)
    one = train(RunOptions.load(config, [f"run={tmp_path / 'one'}"]))
    assert losses(tmp_path / "two") == pytest.approx(losses(one), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "adapters"])
def test_two_processes_killed_and_resumed(tmp_path: Path, data: Path, lora: bool) -> None:
    """The same losses and weights as the uninterrupted run of two, and as one process to 1e-6."""
    more: dict[str, Any] = {"guide": {"weight": 0.5}, "loop": {"save_every": 1}}
    if lora:
        base = train(options(tmp_path / "base", data)) / "model"
        more |= {"model": {"start": str(base)}, "lora": {"rank": 4, "base": "fp32"}, "guide": {}}
    values = run_values(tmp_path / "whole", data, **more)
    finish(launch(toml(tmp_path / "whole.toml", values), 2))
    config = toml(tmp_path / "killed.toml", {**values, "run": str(tmp_path / "killed")})
    step = int(np.random.default_rng(lora).integers(1, 5))
    kill_at(launch(config, 2), tmp_path / "killed" / loop.CHECKPOINTS / f"step_{step:08d}")
    assert len(losses(tmp_path / "killed")) < 6
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "killed", alone)
    finish(launch(config, 2, "--resume"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    whole, resumed = (
        load_file(tmp_path / run / "model" / name) for run in ("whole", "killed")
    )
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    train(RunOptions.load(config, [f"run={alone}"]), resume=True)
    assert losses(alone) == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)
    for key, tensor in load_file(alone / "model" / name).items():
        torch.testing.assert_close(tensor, whole[key], atol=1e-6, rtol=1e-6)


# Learning by heart --------------------------------------------------------------------------------

OVERFIT = {
    "model": {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32},
    "phases": [{
        "name": "by heart", "tokens": 400 * 1400, "context": 1400, "batch": 1400, "rate": 4e-3,
        "end": 0.0, "shape": "cosine", "warmup": 0.05, "mask": "target",
        "tasks": {"lyrics_to_song": 1},
    }],
    "optimiser": {"weight_decay": 0.0}, "loop": {"log_every": 50},
}


@pytest.mark.slow
def test_stage_1_learns_eight_songs_and_sings_one_back(tmp_path: Path) -> None:
    songs = [song(n, tags=(tag,)) for n, tag in enumerate(
        "pop rock jazz folk soul blues disco funk".split()
    )]
    folder = train(options(tmp_path / "run", write(tmp_path / "data", songs), **OVERFIT))
    assert losses(folder)[-1] < 0.1
    model = Llama.load(folder / "model")
    record, v = songs[3], model.config.vocabulary
    sections = [part.section for part in record.parts]
    prompt = build_prompt(
        sections, record.tags[0], load_tokenizer(folder / "model"), vocabulary=v
    )
    sure = ComposeOptions(
        seed=1, guidance=1.0, guidance_later=1.0, repetition_penalty=1.0, top_k=1,
        min_new_tokens=2, max_new_tokens=200,
    )
    *_, (draft,) = stage1.compose(stage1.decoder_of(model, sure), prompt, sections, sure)
    assert (draft.codes == record.dual).all()


@pytest.mark.slow
def test_stage_2_learns_its_windows_and_fills_them_in(tmp_path: Path) -> None:
    songs = [song(n, parts=5, books=3) for n in range(2)]
    changes = {**OVERFIT, "stage": 2, "model": {**OVERFIT["model"], "codebooks": 3}}
    changes["phases"] = [{
        **OVERFIT["phases"][0], "context": 2500, "batch": 2500, "tokens": 250 * 2500,
        "tasks": {"residual": 1},
    }]
    folder = train(options(tmp_path / "run", write(tmp_path / "data", songs), **changes))
    assert losses(folder)[-1] < 0.1
    model, record = Llama.load(folder / "model"), songs[1]
    sung = (Sung("verse", "", record.frames),)
    draft = Draft(codes=record.dual, sections=sung, frame_rate=50)
    refined = stage2.refine(stage2.decoder_of(model, exact=True), draft, rows=2)
    for row, track in enumerate(("vocals", "accompaniment")):
        assert (refined.codes[row] == record.codes[track]).all()
