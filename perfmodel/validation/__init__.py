"""Validation: every published number that perfmodel claims to reproduce, as an executable case."""

from perfmodel.validation.cases import Outcome, Published, case_names, predicts, published, validate
from perfmodel.validation.report import Validation

__all__ = ["Outcome", "Published", "Validation", "case_names", "predicts", "published", "validate"]
