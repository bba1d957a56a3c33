# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Draws the curves of a run: `plot_curves.py WORK_DIR [--keys loss ...]`."""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

Curves = dict[str, dict[int, float]]


def read_curves(work_dir: Path) -> Curves:
    """Reads the scalars that mmengine has logged under a work dir.

    A resumed run has several logs; where they overlap the latest counts.

    Returns:
        For each key its values by step.

    Raises:
        FileNotFoundError: If there is no log.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not logs:
        raise FileNotFoundError(
            f'{work_dir} holds no */vis_data/scalars.json: give the work dir '
            'of a training run'
        )
    curves: Curves = defaultdict(dict)
    for log in logs:
        # The last line of a run that was killed may be cut short.
        text = log.read_text(encoding='utf-8')
        for line in text[: text.rfind('\n') + 1].splitlines():
            scalars = json.loads(line)
            step = scalars.pop('step')
            for key, value in scalars.items():
                if isinstance(value, int | float):
                    curves[key][step] = value
    return curves


def read_levels(file: Path | None) -> dict[str, float]:
    """Reads values by key; none without a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything but numbers by name.
    """
    if file is None:
        return {}
    try:
        levels = json.loads(file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'--levels {file}: not JSON ({error})') from error
    if not isinstance(levels, dict) or not all(
        isinstance(value, int | float) for value in levels.values()
    ):
        raise ValueError(f'--levels {file}: must hold numbers by name')
    return levels


def plot(
    curves: Curves, keys: list[str], levels: dict[str, float], out: Path
) -> None:
    """Draws the chosen curves over the steps into one picture.

    Args:
        curves: As `read_curves` returns them.
        keys: Those to be drawn.
        levels: Values to compare with, by key; dashed, in its colour.
        out: The picture.

    Raises:
        ValueError: If a key was not logged.
    """
    for key in keys:
        if key not in curves:
            raise ValueError(
                f'--keys {key}: not logged; there are {sorted(curves)}'
            )
    figure, axes = plt.subplots(figsize=(8, 4.5), layout='constrained')
    axes.set_prop_cycle(color=plt.get_cmap('tab20').colors)
    for key in keys:
        steps = sorted(curves[key])
        values = [curves[key][step] for step in steps]
        (line,) = axes.plot(steps, values, label=key)
        if key in levels:
            axes.axhline(levels[key], color=line.get_color(), linestyle='--')
    axes.set_xlabel('step')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper')
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def main() -> None:
    """Draws; wrong input ends with one message."""
    parser = argparse.ArgumentParser(description='Draw the curves of a run.')
    parser.add_argument('work_dir', type=Path, help='work dir of the run')
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help='what to draw (default: every loss)',
    )
    parser.add_argument(
        '--levels',
        type=Path,
        metavar='JSON',
        help='values by key, drawn as dashed lines to compare with',
    )
    parser.add_argument(
        '--out', type=Path, help='picture (default: WORK_DIR/curves.png)'
    )
    args = parser.parse_args()
    out = args.out or args.work_dir / 'curves.png'
    try:
        curves = read_curves(args.work_dir)
        keys = args.keys or [key for key in curves if 'loss' in key]
        plot(curves, keys, read_levels(args.levels), out)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'curves: {out}')


if __name__ == '__main__':
    main()
