"""Scores on files of measurements: which data set a file is, is told by its columns."""

from perfmodel.validation.measured.dispatch import known, score

__all__ = ["known", "score"]
