# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The table of tasks with and without pretraining."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'projects/shapes'))
import tasks  # noqa: E402
import transfer  # noqa: E402


@pytest.mark.parametrize('task', transfer.STEPS)
def test_a_short_config_counts_steps(task):
    config = transfer.short_config(task, 40, 3e-3)
    assert config.train_cfg == dict(
        type='mmengine.IterBasedTrainLoop', max_iters=40, val_interval=40
    )
    warm_up, cosine = config.param_scheduler
    assert (warm_up['end'], cosine['begin'], cosine['end']) == (4, 4, 40)
    assert not warm_up['by_epoch'] and not cosine['by_epoch']
    assert config.optim_wrapper.optimizer.lr == 3e-3
    assert config.train_dataloader.sampler.type == 'beit3_mm.InfiniteSampler'
    assert config.default_hooks.checkpoint.interval == 40
    assert not config.log_processor.by_epoch


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Replaces the training, and returns the runs that it was asked for."""
    runs = []
    monkeypatch.setattr(transfer, 'ROOT', tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in 'ab':
        (tmp_path / f'{name}.pth').write_text(name)

    def fake(command, cwd, **_):
        folder = tmp_path / command[-1].removeprefix('--work-dir=')
        column, rate, seed = folder.name.split('_')
        score = 0.5 if column == 'pretrained' else 0.25
        score += 0.01 * int(seed) - abs(float(rate) - 1e-3)
        metrics = dict.fromkeys(tasks.TASKS['det'].metrics, score)
        out = folder / '20260101_000000' / 'vis_data'
        out.mkdir(parents=True)
        (out / 'scalars.json').write_text('{}\n' + json.dumps(metrics))
        (folder / 'iter_200.pth').touch()
        (folder / Path(command[2]).name).write_text("mmengine's copy")
        runs.append(folder.name)
        return type('Done', (), {'returncode': 0})

    monkeypatch.setattr(transfer.subprocess, 'run', fake)
    monkeypatch.setattr(
        transfer.Config,
        'fromfile',
        lambda _, load=transfer.Config.fromfile: load(
            ROOT / transfer.CONFIGS / tasks.TASKS['det'].config
        ),
    )
    return runs


def test_the_table(trained, tmp_path, capsys):
    lines = transfer.table(['det'], 'a.pth', 2).splitlines()
    assert lines[0] == '| task | steps | pretrained | scratch |'
    # the best rate with seed 0, and two more seeds
    assert lines[2] == (
        '| box AP | 600 | 0.510 ± 0.010 (lr 0.001) | '
        '0.260 ± 0.010 (lr 0.001) |'
    )
    assert len(trained) == len(set(trained)) == 2 * (4 + 2)
    for column, start in (('pretrained', 'a.pth'), ('scratch', None)):
        folder = tmp_path / transfer.OUT / 'det' / f'{column}_0.001_2'
        text = Path(f'{folder}.py').read_text()
        assert f'load_from = {start!r}' in text
        assert "'seed': 2" in text
        assert "'max_iters': 600" in text
        assert not list(folder.glob('*.pth'))
    said = capsys.readouterr().out.splitlines()
    # The best of 8 runs is one of the table's: 4 more.
    assert [x.split()[0] for x in said[-5:]] == [
        '[8/8]',
        '[1/4]',
        '[2/4]',
        '[3/4]',
        '[4/4]',
    ]
    # What was done is not done again.
    assert transfer.table(['det'], 'a.pth', 2).splitlines() == lines
    assert len(trained) == 12


def test_a_detector_that_finds_nothing_has_no_precision(monkeypatch, tmp_path):
    monkeypatch.setattr(transfer, 'ROOT', tmp_path)
    for task in ('det', 'seg'):
        run = transfer.Run(task, 'scratch', 1e-3, 0)
        assert run.result() is None
        (tmp_path / run.folder).mkdir(parents=True)
        (tmp_path / run.folder / 'result.json').write_text('{"step": 0}')
        if task == 'det':
            assert run.result() == 0
    with pytest.raises(KeyError):
        run.result()


def test_a_result_is_that_of_a_validation(tmp_path):
    file = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('{"coco/bbox_mAP": 0.5}\n{"loss": 3.0, "step": 20}\n')
    with pytest.raises(RuntimeError, match='another process trains in that'):
        transfer._keep_result(tmp_path)
    assert not (tmp_path / 'result.json').exists()


def test_results_of_another_checkpoint_are_not_taken(trained, tmp_path):
    transfer.table(['det'], 'a.pth', 1)
    with pytest.raises(ValueError, match=r'pretrained_.* from b\.pth: remove'):
        transfer.table(['det'], 'b.pth', 1)
    scratch = transfer.Run('det', 'scratch', 1e-3, 0)
    assert transfer.train(scratch, 600, 'b.pth') == pytest.approx(0.25)
    # Trained anew, under the same name.
    (tmp_path / 'a.pth').write_text('c')
    transfer._digest.cache_clear()
    with pytest.raises(ValueError, match=r'pretrained_.* from a\.pth: remove'):
        transfer.table(['det'], 'a.pth', 1)


@pytest.mark.parametrize('column', transfer.COLUMNS)
def test_results_of_other_steps_are_not_taken(trained, column):
    run = transfer.Run('det', column, 1e-3, 0)
    transfer.train(run, 200, 'a.pth')
    with pytest.raises(ValueError, match=r'config than that of 100 steps'):
        transfer.train(run, 100, 'a.pth')


def test_what_tasks_read_is_made(monkeypatch, tmp_path):
    made = []
    monkeypatch.chdir(tmp_path)
    Path('a.pth').touch()
    monkeypatch.setattr(transfer, 'make_inputs', lambda *x: made.extend(x))
    monkeypatch.setattr(transfer, 'table', lambda *_: '')
    monkeypatch.setattr(transfer, 'ROOT', tmp_path)
    (tmp_path / transfer.OUT).mkdir(parents=True)
    monkeypatch.setattr(
        sys, 'argv', ['transfer.py', 'a.pth', '--tasks', 'vqa', 'det']
    )
    transfer.main()
    assert made == [tasks.TASKS['vqa'], tasks.TASKS['det']]


def test_a_failed_run_names_its_log(trained, monkeypatch):
    monkeypatch.setattr(
        transfer.subprocess,
        'run',
        lambda *_, **__: type('Done', (), {'returncode': 1}),
    )
    with pytest.raises(RuntimeError, match=r'scratch.*/log'):
        transfer.train(transfer.Run('det', 'scratch', 1e-3, 1), 300, 'a.pth')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['missing.pth'], 'missing.pth is no file'),
        (['a.pth', '--processes', '0'], '--processes 0 must be at least 1'),
    ],
)
def test_wrong_arguments(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, 'argv', ['transfer.py', *arguments])
    with pytest.raises(SystemExit):
        transfer.main()
    assert message in capsys.readouterr().err
