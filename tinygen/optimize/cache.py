"""Results by what they rest on: a folder of files named after the SHA-256 of that, each written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import OutputError


@dataclass(frozen=True)
class Entry:
    """A stored result: facts as plain data, and the bytes of a model or none."""

    facts: dict[str, Any]
    model: bytes


class Cache:
    """The results in a folder, which is made when the first one is stored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, kind: str, rests_on: Mapping[str, Any]) -> Entry | None:
        """The result of that kind, or None; a damaged one counts as none."""
        path = self._path(kind, rests_on)
        try:
            head, _, model = path.read_bytes().partition(b"\n")
            stored = json.loads(head)
            digest = hashlib.sha256(model).hexdigest()
            is_whole = stored["rests_on"] == _plain(rests_on) and stored["model_sha256"] == digest
            return Entry(stored["facts"], model) if is_whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, kind: str, rests_on: Mapping[str, Any], facts: Mapping[str, Any], model: bytes = b"") -> None:
        """Store a result; raises OutputError."""
        digest = hashlib.sha256(model).hexdigest()
        head = json.dumps({"rests_on": _plain(rests_on), "facts": facts, "model_sha256": digest}, sort_keys=True)
        path = self._path(kind, rests_on)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, head.encode() + b"\n" + model)
        except OSError as error:
            found, remedy = error.strerror or str(error), "give another folder with --cache"
            raise OutputError("cannot write the cache", where=str(path), found=found, remedy=remedy) from None

    def _path(self, kind: str, rests_on: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(_plain(rests_on), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}"


def _plain(facts: Mapping[str, Any]) -> Any:
    """The facts as they are after a way through JSON: lists instead of tuples."""
    return json.loads(json.dumps(facts))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
