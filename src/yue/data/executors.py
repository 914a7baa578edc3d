"""Where the work on songs is done: here, in processes, or by Ray Data. The work is the same.

In go a `Worker` and tasks, plain values one per song; out come outcomes, plain values too, as they
are finished, in any order. A worker catches what a song does wrong; what kills its process is
caught here.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from yue.data.step import Plan, Row, Tools
from yue.data.steps import BY_NAME, STEPS, keys_of
from yue.data.store import Store
from yue.errors import FileError, ModelError, OptionError, YueError

Task = Mapping[str, Any]
"""`id`; `files`: role -> path; `digests`: role -> hash, where it is known already."""

Outcome = dict[str, Any]
"""`id`, `files` (path, size, ns of change, hash), `digests`, `keys`, `ran` (key -> step, seconds);
then `report`, or `error` with `step`.

`final`: the same input would give the same error. `fatal`: no song can be prepared."""

Executor = Callable[["Worker", Iterable[Task], int], Iterator[Outcome]]

CHUNK = 1 << 20
AHEAD = 2
"""Tasks per worker that wait in its queue."""
MAX_BLOCKS = 10_000
"""Pieces into which Ray cuts the songs; a piece is reported when it is done."""
DIED = "its worker died: out of memory, or a fault in a library that read it"


@dataclass(frozen=True)
class Worker:
    """Prepares one song after another. Picklable; loads models in the process that calls it."""

    plan: Plan
    store: Store
    keep_audio: bool = False

    def __call__(self, task: Task) -> Outcome:
        """Run the steps of a song that have no result yet."""
        outcome = blank(task)
        try:
            self._prepare(task, outcome)
        except (ModelError, OptionError) as error:
            outcome |= {"error": str(error), "final": False, "fatal": True}
        except YueError as error:
            final = not isinstance(error, FileError)
            outcome |= {"error": str(error), "final": final}
        except Exception as error:  # noqa: BLE001 - one song must not end the run
            outcome |= {"error": f"{type(error).__name__}: {error}", "final": False}
        if not self.keep_audio and ("error" not in outcome or outcome["final"]):
            for name in (step.name for step in STEPS if step.heavy):
                self.store.drop(outcome["keys"].get(name, "none"))
        return outcome

    def _prepare(self, task: Task, outcome: Outcome) -> None:
        known = task.get("digests", {})
        for role, path in task["files"].items():
            if known.get(role) is None:
                outcome["files"].append(examine(path))
            outcome["digests"][role] = known.get(role) or outcome["files"][-1][-1]
        outcome["keys"] = keys_of(task["id"], outcome["digests"], self.plan)
        row: Row = {"id": task["id"], "files": task["files"]}
        row = self._with("record", row, outcome)
        if not self.store.has(outcome["keys"]["encode"]):
            row = self._with("encode", row, outcome)
        notes = row["record"]["notes"]
        outcome["report"] = {
            "match": notes["match"], "findings": notes["findings"],
            "seconds": notes["quality"]["seconds"], "parts": len(row["record"]["parts"]),
            "language": row["record"]["language"], "stems": notes["quality"]["stems"],
            "words": notes["words"]["source"],
        }

    def _with(self, name: str, row: Row, outcome: Outcome) -> Row:
        """The row with a step's result: the kept one, else made, from what the step needs."""
        if name in row:
            return row
        key, step = outcome["keys"][name], BY_NAME[name]
        kept = self.store.get(key)
        if kept is not None:
            return {**row, name: kept}
        for need in step.needs:
            row = self._with(need, row, outcome)
        outcome["step"] = name
        began = time.perf_counter()
        row = step(row, _tools(self.plan))
        self.store.put(key, row[name])
        outcome["ran"][key] = (name, time.perf_counter() - began)
        return row


@lru_cache(maxsize=1)
def _tools(plan: Plan) -> Tools:
    """The models of this process: loaded once, kept from song to song."""
    import torch

    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    return Tools(plan)


def blank(task: Task) -> Outcome:
    """The outcome of a task of which nothing is done."""
    return {"id": task["id"], "files": [], "digests": {}, "keys": {}, "ran": {}, "step": "read"}


def died(task: Task) -> Outcome:
    """The outcome of a task during which its process died, more than once."""
    return {**blank(task), "step": "unknown", "error": DIED, "final": False}


def examine(path: str) -> tuple[str, int, int, str]:
    """A file's path, size, time of change in ns, and SHA-256. Raises `FileError`."""
    total = hashlib.sha256()
    try:
        state = Path(path).stat()
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK):
                total.update(chunk)
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror or error}.") from error
    return path, state.st_size, state.st_mtime_ns, total.hexdigest()


# Executors ------------------------------------------------------------------------------------

def serial(worker: Worker, tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    """One song after the other, in this process."""
    yield from map(worker, tasks)


def processes(worker: Worker, tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    """In `workers` processes. A song that kills its process is tried once more alone, then failed.
    """
    suspects: list[Task] = []
    queue = iter(tasks)
    while True:
        crashed = yield from _pool(worker, queue, workers)
        suspects += crashed
        if not crashed:
            break
    for task in suspects:
        if (yield from _pool(worker, iter([task]), 1)):
            yield died(task)


def _pool(
    worker: Worker, tasks: Iterator[Task], workers: int
) -> Generator[Outcome, None, list[Task]]:
    """Outcomes of tasks until all are done or a process dies; returns what was then under way."""
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"),
        # Ctrl-C is the leader's business.
        initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    running: dict[Future[Outcome], Task] = {}
    taken: list[Task] = []
    try:
        while True:
            for task in tasks:
                taken = [task]
                running[pool.submit(worker, task)] = task
                taken = []
                if len(running) >= AHEAD * workers:
                    break
            if not running:
                return []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                del running[future]
                yield outcome
    except BrokenProcessPool:
        finished = [f for f in running if f.done() and f.exception() is None]
        for future in finished:
            del running[future]
            yield future.result()
        return [*running.values(), *taken]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def by_ray(worker: Worker, tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    """By actors of Ray Data, on this machine or the cluster that RAY_ADDRESS names.

    All machines must see the same folders. Needs `pip install yue-music[ray]`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it Ray warns of a change to come in how it hides GPUs from those that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(
            f"executor = 'ray' needs Ray ({error}): pip install 'yue-music[ray]', or choose "
            "serial or processes."
        ) from error
    waiting = {task["id"]: task for task in tasks}
    rows = [{"task": json.dumps(task)} for task in waiting.values()]
    if not rows:
        return
    if not ray.is_initialized():
        _start(ray, workers)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A song that kills its actor twice fails alone; by default it is tried for ever.
    context.max_errored_blocks = -1
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
    done = data.map_batches(
        Actor, fn_constructor_args=(worker,), batch_size=1, num_cpus=1,
        num_gpus=1 if worker.plan.device.startswith("cuda") else 0,
        compute=ray.data.ActorPoolStrategy(size=workers), max_restarts=-1, max_task_retries=1,
    )
    for row in done.iter_rows():
        outcome = json.loads(row["outcome"])
        del waiting[outcome["id"]]
        yield outcome
    yield from map(died, waiting.values())


def _start(ray: Any, workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names, else start one here."""
    local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers + 1}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **local)
    except Exception as error:  # Ray raises this very class
        raise OptionError(
            f"Ray did not start ({error}): is the machine overloaded, or RAY_ADDRESS wrong? "
            "Executor processes needs no Ray."
        ) from error


class Actor:
    """A worker as Ray Data wants it: batches of rows in, batches of rows out."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def __call__(self, batch: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """`task` -> `outcome`, as JSON."""
        return {"outcome": [json.dumps(self.worker(json.loads(task))) for task in batch["task"]]}


EXECUTORS: Mapping[str, Executor] = {"serial": serial, "processes": processes, "ray": by_ray}
