# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Measurements as a Markdown table and as JSON."""

import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measure import MATMUL_SHAPE, Measurement, Setting

HEADER = (
    'config',
    'case',
    'input',
    'dtype',
    'median, ms',
    'best, ms',
    'images/s',
    'peak memory, MB',
    'GFLOP',
    'GFLOP/s',
    'share of matmul: median (best)',
)
UNKNOWN = '-'


def table(
    config: str, setting: Setting, results: Sequence[Measurement]
) -> str:
    """Returns a Markdown table with a row for each measurement.

    Args:
        config: Name of the config.
        setting: Of all measurements.
        results: The measurements.
    """
    rows = [(config, *_cells(setting, result)) for result in results]
    return markdown(HEADER, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ('---',) * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cells(setting: Setting, result: Measurement) -> tuple[str, ...]:
    dtype = _name(result.case.dtype or setting.dtype)
    images, memory = UNKNOWN, UNKNOWN
    if result.case.images is not None:
        images = f'{result.case.images / result.median:.3g}'
    if result.memory is not None:
        memory = f'{result.memory / 1e6:.0f}'
    work = (UNKNOWN,) * 3
    if not result.flops:
        dtype = UNKNOWN  # autocast changes matrix multiplications only
    else:
        shares = result.shares
        work = (
            f'{result.flops / 1e9:.4g}',
            f'{result.flops / result.median / 1e9:.3g}',
            f'{statistics.median(shares):.1%} ({max(shares):.1%})',
        )
    return (
        result.case.name,
        result.case.inputs,
        dtype,
        f'{1e3 * result.median:.4g}',
        f'{1e3 * min(result.seconds):.4g}',
        images,
        memory,
        *work,
    )


def machine(setting: Setting) -> dict[str, str | int]:
    """Describes what the measurements ran on."""
    if setting.device.type == 'cuda':
        name = torch.cuda.get_device_name(setting.device)
    else:
        name = _cpu_name()
    return {
        'device': f'{setting.device} ({name})',
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'python': platform.python_version(),
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.machine()


def caption(setting: Setting, results: Sequence[Measurement]) -> str:
    """Returns what belongs below the table: machine and throughput."""
    text = ', '.join(f'{k} {v}' for k, v in machine(setting).items())
    matmul = [value for result in results for value in result.matmul]
    if not matmul:
        return text
    rows, inner, columns = MATMUL_SHAPE
    return (
        f'{text}; matmul of ({rows}, {inner}) by ({inner}, {columns}) just '
        f'before and after each call: {statistics.median(matmul) / 1e9:.3g} '
        f'({max(matmul) / 1e9:.3g}) GFLOP/s'
    )


def write(
    path: Path,
    config: str,
    setting: Setting,
    results: Sequence[Measurement],
) -> None:
    """Writes everything that was measured as JSON."""
    content = {
        'config': config,
        'dtype': _name(setting.dtype),
        'machine': machine(setting),
        'matmul_shape': MATMUL_SHAPE,
        'results': [
            {
                'case': result.case.name,
                'input': result.case.inputs,
                'dtype': _name(result.case.dtype or setting.dtype),
                'images': result.case.images,
                'seconds': result.seconds,
                'median_seconds': result.median,
                'best_seconds': min(result.seconds),
                'peak_memory_bytes': result.memory,
                'flops': result.flops,
                'matmul_flops_per_second': result.matmul,
                'share_of_matmul': result.shares,
            }
            for result in results
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')
