"""Where tasks run: processes of this computer through joblib, or the workers of a Dask cluster."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from typing import Any

from tinygen.errors import ToolError
from tinygen.optimize.extras import load

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
"""TensorFlow says little, and rounds alike on every computer."""
CONNECT_SECONDS = 20
IDLE_SECONDS = 120
"""A process without work ends after this time, and so does one whose parent was killed."""


class Pool:
    """Some processes; when one of them dies, those that were running fail and fresh ones take what comes next."""

    def __init__(self, jobs: int, start: Callable[[], Executor]) -> None:
        self.jobs, self._start, self._executor = jobs, start, start()
        self._futures: list[Future[Any]] = []

    @property
    def is_idle(self) -> bool:
        """Whether all that was submitted is done."""
        return all(future.done() for future in self._futures)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run the function in one of the processes."""
        try:
            future = self._executor.submit(function, *arguments)
        except BrokenExecutor:
            self._executor = self._start()
            future = self._executor.submit(function, *arguments)
        self._futures.append(future)
        return future

    def close(self, **how: Any) -> None:
        """End the processes, as their executor is told."""
        self._executor.shutdown(**how)


@contextmanager
def workers(jobs: int, scheduler: str = "") -> Iterator[Pool]:
    """A pool of `jobs` processes, or of as many tasks on the Dask cluster at an address; raises ToolError.

    0 jobs are one process, or one task for each worker of the cluster. What still runs at the end is ended.
    """
    if scheduler:
        yield from _cluster(jobs, scheduler)
        return
    loky = load("joblib.externals.loky")
    count = jobs or 1
    pool = Pool(
        count, lambda: loky.ProcessPoolExecutor(count, timeout=IDLE_SECONDS, initializer=_start_quietly, env=QUIET)
    )
    try:
        with warnings.catch_warnings():
            # TensorFlow keeps memory; joblib starts a fresh process when that becomes much, and warns of it.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
            yield pool
    finally:
        # A killed process leaves semaphores behind, which Python then complains of.
        pool.close(wait=True, kill_workers=not pool.is_idle)


def _start_quietly() -> None:
    """In a new process: leave Ctrl+C to the parent, and keep what TensorFlow says from the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _cluster(jobs: int, address: str) -> Iterator[Pool]:
    distributed = load("distributed")
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        remedy = "start one: dask scheduler, and dask worker ADDRESS on each computer"
        raise ToolError("no Dask scheduler answers", where=address, found=found, remedy=remedy) from None
    with client:
        pool = Pool(jobs or max(1, len(client.ncores())), lambda: client.get_executor(pure=False))
        try:
            yield pool
        finally:
            pool.close(wait=False)
