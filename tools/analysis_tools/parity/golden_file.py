# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Golden files: inputs, weights and outputs of official implementations."""

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class GoldenFile(dict):
    """The arrays of a golden file as tensors, text as it is.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or no golden file.
    """

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError('there is no such file')
        if not zipfile.is_zipfile(path):
            raise ValueError('this is no .npz file, or a damaged one')
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as file:
                super().__init__(
                    (name, _tensor_or_text(file[name])) for name in file.files
                )
        except Exception as error:  # whatever numpy makes of a damaged file
            raise ValueError(
                f'it is damaged or holds more than plain arrays: {error}'
            ) from error
        self.config = self.json('config')
        if not isinstance(self.config, dict) or 'kind' not in self.config:
            raise ValueError(f"config={self.config} has no 'kind'")
        if not self.part('out/'):
            raise ValueError('it holds no out/... to compare with')

    def __missing__(self, name: str) -> None:
        raise ValueError(f'it holds no {name!r}')

    def json(self, name: str) -> dict:
        """Returns what is stored under a name as JSON."""
        try:
            return json.loads(self[name])
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f'{name} is no JSON') from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors under a prefix, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.items()
            if name.startswith(prefix)
        }


def _tensor_or_text(array: np.ndarray) -> Tensor | str:
    if array.dtype.kind == 'U':
        return str(array)
    return torch.from_numpy(array)
