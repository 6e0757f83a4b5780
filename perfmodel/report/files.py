"""Write files whole or not at all, and never over something that is not a file."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from uuid import uuid4

from perfmodel.errors import ArgumentError


def check_target(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    """The path, if a regular file can be written there.

    Raises ArgumentError for a wrong ending, a missing folder, a folder or a device.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise ArgumentError("output", str(path), "a file ending in " + ", ".join(suffixes))
    target = target.resolve()
    if not target.parent.is_dir():
        raise ArgumentError("output", str(path), "a file in an existing folder")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise ArgumentError("output", str(path), "a regular file (this is a folder or a device)")
    return target


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write a file beside the target and move it into place; an existing regular file is replaced."""
    target = Path(path).resolve()
    check_target(target, (target.suffix.lower(),))
    raw = content.encode("utf-8") if isinstance(content, str) else content
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(raw)
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
