"""Where the shipped folders are: templates, firmware and boards, in a checkout or inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
FIRMWARE = _ROOT / "firmware"
BOARDS = _ROOT / "boards"
