"""The one exception tree of the package.

Everything that the package refuses, it refuses with a subclass of :class:`PerfmodelError`, so a caller needs
one ``except``.  A message says what was given, what is allowed, and the nearest match where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


class PerfmodelError(Exception):
    """Base of all errors that perfmodel raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a description file, with its place (line and column count from 1)."""

    file: str
    line: int
    col: int
    path: str
    message: str
    allowed: str = ""
    nearest: str | None = None

    def __str__(self) -> str:
        parts = [f"{self.file}:{self.line}:{self.col}: {self.path or '(top)'}: {self.message}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.nearest:
            parts.append(f"did you mean {self.nearest!r}?")
        return "; ".join(parts)


class SpecError(PerfmodelError):
    """A description file is wrong; ``faults`` holds every fault found in it, in file order."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: (fault.file, fault.line, fault.col))
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[Any, ...]:
        return (SpecError, (self.faults,))


class UnitError(PerfmodelError):
    """A quantity or unit cannot be read, or measures something else than what is wanted."""

    def __init__(self, message: str, allowed: str = "", nearest: str | None = None) -> None:
        self.message, self.allowed, self.nearest = message, allowed, nearest
        super().__init__(_sentence(message, allowed, nearest))

    def __reduce__(self) -> tuple[Any, ...]:
        return (UnitError, (self.message, self.allowed, self.nearest))


class UnknownNameError(PerfmodelError):
    """A name (model, device, field path, ...) does not exist; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, choices: Iterable[str] = ()) -> None:
        self.kind, self.name, self.choices = kind, name, tuple(choices)
        self.nearest = nearest(name, self.choices)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, self.choices)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.kind, self.name, self.choices))


class ArgumentError(PerfmodelError):
    """An argument of the public API has a value that is not allowed."""

    def __init__(self, argument: str, value: object, allowed: str = "", nearest: str | None = None) -> None:
        self.argument, self.value, self.allowed, self.nearest = argument, value, allowed, nearest
        super().__init__(_sentence(f"{argument}: {_short(value)} given", allowed, nearest))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.argument, self.value, self.allowed, self.nearest))


class ImpossibleError(ArgumentError):
    """Arguments that are allowed each, but not together at this point; a sweep masks the point."""


class PrecisionError(PerfmodelError):
    """A number format that the device does not compute in."""

    def __init__(self, precision: str, device: str, available: Iterable[str]) -> None:
        self.precision, self.device, self.available = precision, device, tuple(available)
        have = ", ".join(self.available) or "none"
        super().__init__(
            _sentence(
                f"precision {precision!r} is not available on {device}",
                have,
                nearest(precision, self.available),
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.precision, self.device, self.available))


class InfeasibleError(PerfmodelError):
    """The work does not fit; ``excess`` says by how much, in the unit of the message."""

    def __init__(self, message: str, excess: float | None = None) -> None:
        self.message, self.excess = message, excess
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.excess))


class MissingPackageError(PerfmodelError, ImportError):
    """An optional package is wanted and not installed."""


class GraphError(PerfmodelError):
    """A workload graph has a cycle, a dangling edge or a repeated name."""


def optional(package: str, *modules: str) -> Any:
    """An optional package, with modules of it imported too; its extra has the same name.

    Raises MissingPackageError with the command that installs it.
    """
    try:
        for module in modules:
            import_module(f"{package}.{module}")
        return import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"this needs the optional package {package}: pip install 'perfmodel[{package}]'"
        ) from error


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like `word`, or None if none comes close."""
    found = _matches(word, choices, 1)
    return found[0] if found else None


def did_you_mean(word: str, choices: Iterable[str], limit: int = 3) -> str:
    """Text to append to an error: the nearest names, else the known ones, else nothing."""
    known = list(choices)
    found = _matches(word, known, limit)
    if found:
        return "; did you mean " + " or ".join(repr(name) for name in found) + "?"
    if not known:
        return ""
    listed = ", ".join(known[:20]) + (f", ... ({len(known)} in all)" if len(known) > 20 else "")
    return f"; known: {listed}"


def _matches(word: str, choices: Iterable[str], limit: int) -> list[str]:
    import difflib

    by_lower: dict[str, str] = {}
    for choice in choices:
        by_lower.setdefault(choice.lower(), choice)
    asked = str(word).lower()
    close = difflib.get_close_matches(asked, by_lower, limit, 0.6)
    if len(asked) >= 3:  # "a100" stands for "a100-sxm-80gb", which is too long to look alike
        longer = sorted((name for name in by_lower if asked in name), key=len)
        first = [name for name in longer if name.startswith(asked)]
        close = [*close, *first, *longer] if asked in close else [*first, *close, *longer]
    return [by_lower[name] for name in dict.fromkeys(close)][:limit]


def _sentence(message: str, allowed: str, close: str | None) -> str:
    text = message + (f"; allowed: {allowed}" if allowed else "")
    return text + (f"; did you mean {close!r}?" if close else "")


def _short(value: object) -> str:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        value = value.item()  # type: ignore[attr-defined]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:30]}...{text[-47:]}"  # the end of a place is its line
