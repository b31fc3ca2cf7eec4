"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import audit_lab

MODULES = [found.name for found in pkgutil.walk_packages(audit_lab.__path__, "audit_lab.") if not found.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_come_out_as_they_say(name: str) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(importlib.import_module(name)):
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    n = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert n > 100
