# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Nothing here asserts a time."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import two_processes  # noqa: F401  lets processes start in no time

from beit3_mm.models.heads import VQAHead
from beit3_mm.models.multimodal import FusionEncoder

ROOT = Path(__file__).parents[2]
ARCH = dict(
    img_size=32,
    patch_size=8,
    embed_dims=24,
    num_layers=2,
    num_heads=3,
    feedforward_channels=48,
    vocab_size=50,
)
MATMUL_SHAPE = (8, 8, 8)
WIDE = dict(ARCH, embed_dims=48)


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Lets tests import what the tool imports, and multiply small matrices."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'analysis_tools')
    from benchmarks import measure, processes

    monkeypatch.setattr(measure, 'MATMUL_SHAPE', MATMUL_SHAPE)
    monkeypatch.setattr(processes, 'START_METHOD', 'forkserver')
    monkeypatch.setattr(processes, 'work', work)


def work(*args):
    """As `processes.work`, with small matrices there too."""
    from benchmarks import measure, processes

    measure.MATMUL_SHAPE = MATMUL_SHAPE
    processes.work(*args)


@pytest.fixture
def grow(run_tool, tmp_path, capsys):
    """Runs the tool; returns its output, its JSON and its picture."""
    (tmp_path / 'archs.py').write_text(
        f'archs = dict(small={ARCH!r}, wide={WIDE!r})'
    )

    def run(*args):
        folder = tmp_path / 'results'
        run_tool(
            'analysis_tools/growth',
            *('--archs-file', tmp_path / 'archs.py', '--arch', 'small'),
            *('--archs', 'small', 'wide', '--image-size', 32),
            *('--text-length', 4, '--repeats', 2, '--device', 'cpu'),
            *('--work-dir', folder, *args),
        )
        printed = capsys.readouterr()
        assert ('ETA' in printed.err) == ('processes' not in args)
        *_, plot, results = printed.out.splitlines()
        path = Path(results.removeprefix('results: '))
        picture = path.with_suffix('.png')
        assert plot == f'plot: {picture}'
        return printed.out, json.loads(path.read_text()), picture

    return run


def model(arch):
    return FusionEncoder(
        dict(arch, final_norm=False),
        dict(type=VQAHead, embed_dims=arch['embed_dims'], num_answers=3129),
    )


def test_images_texts_and_models(grow):
    printed, results, picture = grow(
        *('--grow', 'image', 'text', 'model'),
        *('--image-sizes', 32, 64, '--text-lengths', 4, 8, 16),
    )
    rows = results['rows']
    assert [row['amount'] for row in rows if row['line'] == 'inference'] == [
        *(1 + 16 + 4, 1 + 64 + 4, 1 + 16 + 4, 1 + 16 + 8, 1 + 16 + 16),
        *(sum(x.numel() for x in model(a).parameters()) for a in (ARCH, WIDE)),
    ]
    for line, more in (('inference', 1), ('training step', 2)):
        own = [row for row in rows if row['line'] == line]
        for series in ('image', 'text', 'model'):
            flops = [x['flops'] for x in own if x['series'] == series]
            assert flops == sorted(set(flops))
        for row, inference in zip(own, rows[1::2]):
            assert row['flops'] > more * inference['flops'] - 1
            assert row['samples'] == 2
            assert row['memory'] > 0
            assert len(row['seconds']) == len(row['matmul']) == 2
    assert len(results['exponents']) == 6
    for label in ('64 px', '16 words', 'wide'):
        assert f'| {label} | training step |' in printed
    assert picture.read_bytes()[1:4] == b'PNG'


def test_code_is_loaded_before_memory_is_measured(grow, monkeypatch):
    from benchmarks.workload import Workload

    sizes, build = [], Workload._model

    def model(workload):
        sizes.append(workload.image_size)
        return build(workload)

    monkeypatch.setattr(Workload, '_model', model)
    grow('--grow', 'text', '--text-lengths', 4)
    # training and inference of one patch, then of what is measured
    assert sizes[:2] == [ARCH['patch_size']] * 2
    assert set(sizes[2:]) == {32}


def test_two_processes_do_half_of_the_work_each(grow):
    printed, results, _ = grow('--grow', 'processes', '--processes', 2)
    one, same, two, threads = results['rows']
    assert one['label'] == same['label'] == 'one core'
    assert one['seconds'] == same['seconds']
    assert [two['label'], threads['label']] == [
        *('2 processes', '2 threads of a process')
    ]
    assert two['flops'] * 2 == one['flops'] == threads['flops']
    for row in results['rows']:
        assert row['samples'] == 2
        assert len(row['seconds']) == 2
    assert '| one core |' in printed
    assert printed.count('| 2 processes |') == 1


def test_the_clock_of_the_processor(grow, monkeypatch):
    from benchmarks import measure

    ticks = itertools.count()
    monkeypatch.setitem(measure.CLOCKS, 'cpu', lambda: next(ticks))
    _, results, _ = grow(
        '--grow', 'text', '--text-lengths', 4, '--clock', 'cpu'
    )
    for row in results['rows']:
        assert row['seconds'] == [1, 1]
        assert row['matmul'] == [3 * 2 * 8**3] * 2
        flops = 2 * 3 * 8**3
        assert row['time_to_matmul'] == flops / row['flops']
        assert row['median_seconds_per_sample'] == 0.5


@pytest.fixture
def make_rows():
    """Makes rows of given amounts, FLOPs, seconds and memory."""
    from benchmarks.rows import Row

    def make(amounts, flops, seconds, memory, series='image', line='x'):
        return [
            Row(series, line, f'to {a}', a, 1, f, [s] * 3, [1.0] * 3, m)
            for a, f, s, m in zip(amounts, flops, seconds, memory, strict=True)
        ]

    return make


@pytest.mark.parametrize(
    ('seconds', 'memory', 'cells'),
    [
        ([2, 4, 8], [3, 6, 12], '1.00 | 1.00 | 1.00 | 1.00 | no'),
        ([2, 8, 32], [3, 3, 3], '2.00 | 1.00 | 0.00 | 4.00 | time'),
        ([2, 2, 2], [3, 12, 48], '0.00 | 1.00 | 2.00 | 0.25 | memory'),
        ([2, 8, 32], [3, 12, 48], '2.00 | 1.00 | 2.00 | 4.00 | time, memory'),
    ],
)
def test_what_grows_worse_than_it_has_to(make_rows, seconds, memory, cells):
    from benchmarks.growth_report import growth

    rows = make_rows([10, 20, 40], [5, 10, 20], seconds, memory)
    # whichever way they come, and beside another line
    alone = make_rows([1], [1], [1], [1], line='alone')
    (line,) = growth([*rows[::-1], *alone]).splitlines()[2:]
    assert line == f'| image | x | to 10 | to 40 | {cells} |'
    assert growth(alone) == ''


def test_unknown_memory_has_no_exponent(make_rows, tmp_path):
    from benchmarks.growth_report import growth, plot

    rows = make_rows([1, 2], [5, 10], [2, 4], [3, None])
    assert growth(rows).endswith('| 1.00 | 1.00 | - | 1.00 | no |')
    plot(rows, tmp_path / 'plot.png')


def test_what_was_measured_before_an_error_is_kept(grow, tmp_path):
    sizes = ('--image-sizes', 32, 33)
    with pytest.raises(SystemExit, match='33'):
        grow('--grow', 'image', *sizes)
    (file,) = (tmp_path / 'results').glob('*.json')
    assert [x['label'] for x in json.loads(file.read_text())['rows']] == [
        '32 px'
    ] * 2


def test_efficiency(make_rows):
    from benchmarks.growth_report import efficiency, growth

    rows = make_rows([1, 2], [8, 4], [12, 8], [1, 1], 'processes')
    lines = efficiency(rows).splitlines()[2:]
    assert lines == [
        '| to 1 | 12 | 100% | 1.50 |',
        '| to 2 | 8 | 75% | 2.00 |',
    ]
    assert growth(rows) == ''


def test_times_at_one_speed_of_the_machine(make_rows):
    from benchmarks.rows import matmul_rate

    fast, slow = make_rows([1, 2], [8, 8], [2, 4], [1, 1])
    fast = replace(fast, matmul=[6.0] * 3)  # slow: 1.0
    assert matmul_rate([fast, slow]) == 3.5
    assert fast.slowness == 1.5
    assert fast.even_seconds(3.0) == 4
    assert slow.even_seconds(3.0) == 4 / 3


def test_exponents():
    from benchmarks.rows import exponent

    amounts = [1, 3, 10]
    assert exponent(amounts, [5 * x**2 for x in amounts]) == pytest.approx(2)
    assert exponent(amounts, [7.0] * 3) == pytest.approx(0)
    assert math.isnan(exponent([3, 3], [1, 2]))


def test_ticks_and_lines_of_the_plot(make_rows, tmp_path, monkeypatch):
    from benchmarks import growth_report

    figures = []
    monkeypatch.setattr(growth_report.plt, 'close', figures.append)
    rows = make_rows([10, 20], [5, 10], [2, 6], [3e6, 6e6])
    rows += make_rows([1, 2], [8, 4], [12, 8], [1, 1], 'processes')
    growth_report.plot(rows, tmp_path / 'x' / 'plot.png')
    times, cores, memory, _ = figures[0].axes
    curves = {x.get_label(): x.get_ydata() for x in times.get_lines()}
    assert list(curves['x: exponent 1.58']) == [2, 6]
    assert list(curves['as FLOPs grow: 1.00']) == [2, 4]
    ideal = {x.get_label(): x.get_ydata() for x in cores.get_lines()}
    assert list(ideal['a core more, as much faster']) == [12, 6]
    assert list(memory.get_lines()[0].get_ydata()) == [3, 6]
    assert (tmp_path / 'x' / 'plot.png').exists()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--arch', 'tea'], r"archs.py has no arch 'tea'; .* \['small', 'w"),
        (['--archs-file', 'nowhere.py'], 'no config file nowhere.py'),
        (['--image-sizes', '33', '--grow', 'image'], '33'),
        (
            ['--batch-size', '3', '--grow', 'processes', '--processes', '2'],
            '--batch-size 3 does not divide by 2 processes',
        ),
    ],
)
def test_errors(grow, args, message):
    with pytest.raises(SystemExit, match=message):
        grow(*args)


@pytest.mark.parametrize(
    'args', [['--grow', 'tea'], ['--clock', 'x'], ['--processes', '0']]
)
def test_wrong_options(grow, args):
    with pytest.raises(SystemExit) as end:
        grow(*args)
    assert end.value.code == 2


def test_bfloat16_and_threads(grow, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, 'set_num_threads', seen.append)
    _, results, _ = grow(
        *('--grow', 'text', '--text-lengths', 4),
        *('--dtype', 'bfloat16', '--threads', 1),
    )
    assert results['dtype'] == 'bfloat16'
    assert seen == [1]
