# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / 'tools/analysis_tools/plot_curves.py'


def plot(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def work_dir(tmp_path):
    """Returns a run that was killed in a line of its log and resumed."""
    for name, steps in (('1', range(1, 6)), ('2', range(4, 9))):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = [
            json.dumps(dict(step=step, loss=1 / step, lr=0.1)) + '\n'
            for step in steps
        ]
        text = ''.join(lines) + ('{"step": 6, "lo' if name == '1' else '')
        (folder / 'scalars.json').write_text(text)
    return tmp_path


def test_it_draws_and_says_where(work_dir):
    done = plot(work_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'curves: {work_dir}/curves.png\n'
    assert Image.open(work_dir / 'curves.png').size[0] > 500
    out = work_dir / 'new/lr.png'
    assert plot(work_dir, '--keys', 'lr', '--out', out).returncode == 0
    assert out.is_file()


def test_levels_are_drawn_beside_their_curves(work_dir):
    file = work_dir / 'levels.json'
    file.write_text(json.dumps(dict(loss=0.5, other=1.0)))
    pictures = [work_dir / f'{name}.png' for name in ('with', 'without')]
    levels = ('--levels', file)
    assert plot(work_dir, *levels, '--out', pictures[0]).returncode == 0
    assert plot(work_dir, '--out', pictures[1]).returncode == 0
    a, b = (Image.open(x).convert('RGB') for x in pictures)
    assert a.size == b.size
    assert a.tobytes() != b.tobytes()
    for text, message in (
        ('[0.5]', 'levels.json: must hold numbers by name'),
        ('{"loss": 0.', 'levels.json: not JSON'),
    ):
        file.write_text(text)
        done = plot(work_dir, *levels)
        assert done.returncode == 1
        assert message in done.stderr


def test_errors_name_what_is_missing(work_dir, tmp_path):
    done = plot(work_dir, '--keys', 'los')
    assert done.returncode == 1
    assert done.stderr.startswith('error: --keys los: not logged')
    done = plot(tmp_path / 'nothing')
    assert done.returncode == 1
    assert 'nothing holds no' in done.stderr
