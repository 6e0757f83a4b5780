"""Write files whole or not at all, and never over something that is not a file."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

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
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
