# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tables, files and pictures of where the memory goes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from memory.strategies import ROWS, Prediction

GB = 10**9


@dataclass(frozen=True)
class Result:
    """What was predicted of a config, and measured.

    Args:
        name: Of the config.
        inputs: The batch of one process, in words.
        predictions: One for each strategy and number of devices.
        measured: Peak of one process in bytes, if it was measured.
    """

    name: str
    inputs: str
    predictions: Sequence[Prediction]
    measured: int | None = None


def table(results: Sequence[Result], limit: float) -> str:
    """Returns a Markdown table, in GB of 10^9 bytes.

    Args:
        results: One for each config.
        limit: GB that a device has.
    """
    kinds = [kind for kind in ROWS if _any(results, kind)]
    head = ['config', 'batch of a device', 'strategy', 'devices', *kinds]
    lines = [[*head, 'total', f'fits {limit:g} GB']]
    lines.append(['---'] * len(lines[0]))
    for result in results:
        for found in result.predictions:
            fits = found.total <= limit * GB
            lines.append(
                [result.name, result.inputs]
                + [found.strategy, str(found.devices)]
                + [f'{found.rows[kind] / GB:.2f}' for kind in kinds]
                + [f'{found.total / GB:.2f}', 'yes' if fits else '**no**']
            )
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def comparison(results: Sequence[Result]) -> str:
    """Returns a Markdown table of what was measured, in GB."""
    lines = ['| config | batch | predicted | measured | ratio |']
    lines.append('|---|---|---|---|---|')
    for result in results:
        if result.measured is not None:
            total = result.predictions[0].total
            lines.append(
                f'| {result.name} | {result.inputs} | {total / GB:.3f} | '
                f'{result.measured / GB:.3f} | '
                f'{total / result.measured:.3f} |'
            )
    return '\n'.join(lines)


def write(path: Path, results: Sequence[Result], options: dict) -> None:
    """Writes results, in bytes, and the options that led to them."""
    content = {
        'options': options,
        'results': [
            {
                'config': result.name,
                'inputs': result.inputs,
                'measured_bytes': result.measured,
                'predictions': [
                    {
                        'strategy': found.strategy,
                        'devices': found.devices,
                        'bytes': found.rows,
                        'total_bytes': found.total,
                    }
                    for found in result.predictions
                ],
            }
            for result in results
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def draw(path: Path, results: Sequence[Result], limit: float) -> None:
    """Draws a bar for each prediction, stacked by where the memory goes."""
    names = [
        f'{result.name}\n{found.strategy}, {found.devices} devices'
        for result in results
        for found in result.predictions
    ]
    found = [x for result in results for x in result.predictions]
    height = 1.0 + 0.5 * len(found)
    figure, axes = plt.subplots(figsize=(10, height), layout='constrained')
    left = [0.0] * len(found)
    for kind in ROWS:
        if _any(results, kind):
            sizes = [x.rows[kind] / GB for x in found]
            axes.barh(names, sizes, left=left, label=kind)
            left = [a + b for a, b in zip(left, sizes)]
    if max(left) > limit / 2:  # else the bars would be small beside it
        axes.axvline(limit, color='black', linestyle='--')
    axes.invert_yaxis()
    axes.set_xlabel('GB of a process')
    axes.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside right upper')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _any(results: Sequence[Result], kind: str) -> bool:
    return any(x.rows[kind] for r in results for x in r.predictions)
