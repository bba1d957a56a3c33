# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Acts on a module when it is imported, without importing it before."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

Patch = Callable[[ModuleType], None]


class _HostFinder(MetaPathFinder):
    """Finds modules as the other finders do, then patches or replaces.

    It stands first in `sys.meta_path` and leaves every name that is in
    neither of its two tables to the finders behind it.
    """

    def __init__(self) -> None:
        self.patches: dict[str, Patch] = {}
        self.stand_ins: dict[str, Path] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Returns the module's own spec, a stand-in's, or None."""
        if fullname not in self.patches and fullname not in self.stand_ins:
            return None
        spec = self._find_behind(fullname, path, target)
        if spec is None and fullname in self.stand_ins:
            return spec_from_file_location(fullname, self.stand_ins[fullname])
        if spec is not None and fullname in self.patches:
            _run_after(spec, self.patches[fullname])
        return spec

    def _find_behind(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None,
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, 'find_spec'):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


_FINDER = _HostFinder()


def after_import(name: str, patch: Patch) -> None:
    """Calls `patch(module)` once the module `name` has been executed.

    A module that is already imported is patched at once.
    """
    _activate()
    _FINDER.patches[name] = patch
    if name in sys.modules:
        patch(sys.modules[name])


def provide_missing(name: str, file: Path) -> None:
    """Lets `import name` run `file` where no such module is installed."""
    _activate()
    _FINDER.stand_ins[name] = file


def _activate() -> None:
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _run_after(spec: ModuleSpec, patch: Patch) -> None:
    loader = spec.loader
    execute = loader.exec_module

    def execute_and_patch(module: ModuleType) -> None:
        execute(module)
        patch(module)

    loader.exec_module = execute_and_patch
