# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The command line tool: determinism, completeness, bad input."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SHAPES = Path(__file__).parents[2] / 'projects/shapes'
sys.path.insert(0, str(SHAPES))
import generate  # noqa: E402
import rendering  # noqa: E402


def run(out, *options):
    return generate.main(['--out', str(out), *map(str, options)])


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def everything(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes') / 'data'
    assert run(out, '--train', 12, '--val', 8) == 0
    return out


def test_same_bytes_on_each_run(everything, tmp_path):
    assert run(tmp_path / 'again', '--train', 12, '--val', 8) == 0
    first, second = digests(everything), digests(tmp_path / 'again')
    assert len(first) > 100
    assert first == second


def test_scene_is_independent_of_counts_and_formats(everything, tmp_path):
    options = ('--train', 3, '--val', 2, '--formats', 'coco')
    assert run(tmp_path, *options) == 0
    images = {k: v for k, v in digests(tmp_path).items() if '.jpg' in k}
    assert len(images) == 5
    assert images.items() <= digests(everything).items()


def test_seed_and_split_change_the_scenes(everything, tmp_path):
    options = ('--train', 3, '--val', 3, '--formats', 'coco', '--seed', 1)
    assert run(tmp_path, *options) == 0
    images = [v for k, v in digests(tmp_path).items() if '.jpg' in k]
    assert len(set(images)) == 6
    assert not set(images) & set(digests(everything).values())


def test_several_processes_give_the_same(everything, tmp_path, monkeypatch):
    workers = []
    spawn = rendering.multiprocessing.get_context('spawn')
    pool = spawn.Pool

    def spy(number, *args):
        workers.append(number)
        return pool(number, *args)

    monkeypatch.setattr(spawn, 'Pool', spy)
    monkeypatch.setattr(rendering.os, 'cpu_count', lambda: 2)
    monkeypatch.setattr(rendering, '_SCENES_PER_WORKER', 5)
    assert run(tmp_path / 'again', '--train', 12, '--val', 8) == 0
    assert workers == [2]
    assert digests(tmp_path / 'again') == digests(everything)


def test_images_of_one_suffix_are_one_file(everything):
    names = (
        'coco/train2017/000000000001.jpg',
        'coco/train2014/COCO_train2014_000000000001.jpg',
        'ade20k/images/training/ADE_train_00000001.jpg',
    )
    contents = {(everything / name).read_bytes() for name in names}
    assert len(contents) == 1
    assert (everything / names[0]).stat().st_nlink == len(names)


def test_complete_folder_is_left_alone(tmp_path, capsys):
    options = ('--train', 2, '--val', 1, '--formats', 'coco')
    assert run(tmp_path, *options) == 0
    image = next(tmp_path.glob('coco/train2017/*.jpg'))
    before = image.stat().st_mtime_ns
    capsys.readouterr()
    assert run(tmp_path, *options) == 0
    assert 'nothing to do' in capsys.readouterr().out
    assert image.stat().st_mtime_ns == before


def test_other_arguments_replace_the_old_data(tmp_path):
    assert run(tmp_path, '--train', 3, '--val', 1, '--formats', 'coco') == 0
    assert run(tmp_path, '--train', 2, '--val', 1, '--formats', 'text') == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['generated.json', 'text']


def test_lost_folder_is_made_again(tmp_path):
    options = ('--train', 2, '--val', 1, '--formats', 'coco')
    assert run(tmp_path, *options) == 0
    before = digests(tmp_path)
    (tmp_path / 'coco').rename(tmp_path.parent / f'{tmp_path.name}-moved')
    assert run(tmp_path, *options) == 0
    assert digests(tmp_path) == before


@pytest.mark.parametrize('step', ['render_all', 'FORMATS', '_write_marker'])
def test_interrupted_run_is_not_taken_for_complete(
    step, tmp_path, monkeypatch
):
    """Whatever step fails, the next run starts again and succeeds."""

    class Killed(BaseException):
        pass

    def fail(*args):
        raise Killed

    options = ('--train', 2, '--val', 1, '--formats', 'coco')
    with monkeypatch.context() as patch:
        if step == 'FORMATS':
            patch.setattr(generate.FORMATS['coco'], 'write', fail)
        else:
            patch.setattr(generate, step, fail)
        with pytest.raises(Killed):
            run(tmp_path, *options)
    assert not (tmp_path / 'coco').exists()
    assert not (tmp_path / 'generated.json').exists()
    assert run(tmp_path, *options) == 0
    assert (tmp_path / 'coco/annotations/instances_val2017.json').exists()


def test_interruption_while_moving_is_not_taken_for_complete(
    tmp_path, monkeypatch
):
    def fail(*args):
        raise KeyboardInterrupt

    first = ('--train', 2, '--val', 1, '--formats', 'coco', 'text')
    second = ('--train', 3, '--val', 1, '--formats', 'coco')
    assert run(tmp_path, *first) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, 'rename', fail)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *second)
    marker = json.loads((tmp_path / 'generated.json').read_text())
    assert marker['state'] is None
    assert run(tmp_path, *first) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'generated.json', 'coco', 'text'}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--train', '-1'], '-1 must be from 1'),
        (['--val', '0'], '0 must be from 1'),
        (['--train', 'many'], "invalid count value: 'many'"),
        (['--size', '64'], '64 must be at least 128'),
        (['--seed', '-2'], '-2 must not be negative'),
        (['--formats', 'voc'], "invalid choice: 'voc'"),
    ],
)
def test_bad_options(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, *options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_out_may_not_be_a_file(tmp_path, capsys):
    file = tmp_path / 'file'
    file.write_text('mine')
    for out in (file, file / 'below'):
        assert run(out, '--train', 1, '--val', 1) == 1
        assert f'{file} is a file' in capsys.readouterr().err
    assert file.read_text() == 'mine'


def test_somebody_elses_folder_is_refused(tmp_path, capsys):
    (tmp_path / 'coco').mkdir()
    (tmp_path / 'coco/mine.txt').write_text('mine')
    assert run(tmp_path, '--train', 1, '--val', 1) == 1
    assert 'did not write' in capsys.readouterr().err
    assert (tmp_path / 'coco/mine.txt').read_text() == 'mine'


def test_runs_from_anywhere_and_says_where_results_lie(tmp_path):
    command = [sys.executable, SHAPES / 'generate.py', '--train', '1']
    command += ['--val', '1', '--formats', 'coco']
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert 'In work_dirs/shapes/data' in result.stdout
    assert 'coco/annotations/instances_train2017.json' in result.stdout
    data = tmp_path / 'work_dirs/shapes/data'
    assert len(list(data.glob('coco/train2017/*.jpg'))) == 1
