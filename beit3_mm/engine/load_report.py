# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What became of the weights of a checkpoint."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Shapes = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class LoadReport:
    """What became of the names in a model and in a checkpoint.

    Attributes:
        source: Where the weights came from.
        loaded: Names in both, of the same shape or resized.
        missing: Names of the model that the checkpoint does not have.
        mismatched: Names in both whose shapes differ, with the checkpoint's
            and the model's shape; the model keeps its own values.
        unexpected: Names of the checkpoint, as they are there, that the model
            does not have.
        resized: Names of `loaded` that had another shape, with both shapes.
    """

    source: str
    loaded: Sequence[str]
    missing: Sequence[str]
    mismatched: Shapes
    unexpected: Sequence[str]
    resized: Shapes = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every weight of the model was loaded."""
        return not self.missing and not self.mismatched

    def __str__(self) -> str:
        """Lists all names that did not load as they were."""
        return '\n'.join(
            [
                f'{len(self.loaded)} weights loaded from {self.source}',
                *_section('of them resized to this input size', self.resized),
                *_section('not in the checkpoint, fresh', self.missing),
                *_section(
                    'of another shape in the checkpoint, fresh',
                    self.mismatched,
                ),
                *_section('not in the model, unused', self.unexpected),
            ]
        )


def _section(title: str, names: Sequence[str] | Shapes) -> list[str]:
    if not names:
        return []
    lines = [f'{len(names)} {title}:']
    if isinstance(names, Mapping):
        return lines + [
            f'  {name}: {theirs} in the checkpoint, {ours} in the model'
            for name, (theirs, ours) in names.items()
        ]
    return lines + [f'  {name}' for name in group_layers(names)]


def group_layers(names: Iterable[str]) -> list[str]:
    """Writes names of the same weight in several layers as one, such as
    `layers.0-11.norm.bias`.
    """
    groups = defaultdict(list)
    for name in names:
        number = re.search(r'(?<=layers\.)\d+', name)
        start, end = number.span() if number else (len(name), len(name))
        groups[name[:start], name[end:]].append(name[start:end])
    return [
        f'{before}{_ranges(numbers)}{behind}'
        for (before, behind), numbers in groups.items()
    ]


def _ranges(numbers: list[str]) -> str:
    """Writes numbers 0, 1, 2, 5 as 0-2,5; no number as nothing."""
    runs = []
    for number in sorted(int(x) for x in numbers if x):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ','.join(f'{a}-{b}' if a < b else f'{a}' for a, b in runs)
