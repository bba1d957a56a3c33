# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import dual_encoders
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from two_processes import run_tools_in_two_processes

from beit3_mm.compat import hosts

TOOLS = Path(__file__).parents[2] / 'tools'


def losses(work_dir):
    """Returns the loss of each step of the last run."""
    scalars = max(work_dir.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    return {row['step']: row['loss'] for row in rows if 'loss' in row}


def test_training_and_resuming(run_tool, write_config, tmp_path, capsys):
    whole, halted = tmp_path / 'whole', tmp_path / 'halted'
    run_tool('train', write_config(), '--work-dir', whole)
    printed = capsys.readouterr().out
    assert 'eta:' in printed
    # It ends by saying where the results are, and they are there.
    *_, checkpoint, log, curves = printed.strip().splitlines()
    assert checkpoint == f'checkpoint: {whole / "iter_4.pth"}'
    torch.load(whole / 'iter_4.pth', weights_only=True)
    assert 'loss' in Path(log.removeprefix('log: ')).read_text()
    (events,) = Path(curves.split()[-1]).glob('vis_data/events.*')
    events = EventAccumulator(str(events)).Reload()
    assert [event.step for event in events.Scalars('loss')] == [1, 2, 3, 4]

    stop = ['--cfg-options', 'train_cfg.max_iters=2']
    run_tool('train', write_config(), '--work-dir', halted, *stop)
    # Logs of runs that begin in the same second share a folder.
    (logs,) = halted.glob('20*')
    shutil.rmtree(logs)
    run_tool('train', write_config(), '--work-dir', halted, '--resume')
    assert losses(halted) == pytest.approx(
        {step: loss for step, loss in losses(whole).items() if step > 2},
        rel=1e-6,
    )


def test_resume_without_checkpoint_starts_afresh(
    run_tool, write_config, tmp_path, capsys
):
    args = ['--resume', '--work-dir', tmp_path / 'new', '--amp']
    one = ['--cfg-options', 'train_cfg.max_iters=1', 'val_cfg=None']
    one += ['val_dataloader=None', 'val_evaluator=None']
    run_tool('train', write_config(), *args, *one)
    printed = capsys.readouterr().out
    assert 'starting afresh' in printed
    assert (tmp_path / 'new' / 'iter_1.pth').is_file()
    (config,) = (tmp_path / 'new').glob('config*.py')
    assert 'beit3_mm.AmpOptimWrapper' in config.read_text()


@pytest.mark.parametrize(
    ('text', 'args', 'message'),
    [
        ('x = )', [], r'config .*\.py: SyntaxError'),
        ('', ['--cfg-options', 'trian_cfg.max_iters=1'], "mean 'train_cfg'"),
        ('', ['--cfg-options', 'model.backbone.depht=3'], "argument 'depht'"),
        ("model.update(type='mmdet.Nothing')", [], r'Nothing'),
        ('train_cfg = None', [], 'has no train_cfg'),
        ('', ['--resume', 'gone.pth'], r'no checkpoint file gone\.pth'),
        ("load_from = 'gone.pth'", [], r'no checkpoint file gone\.pth'),
        ("optim_wrapper.update(type='My')", ['--amp'], "type='My'"),
        (
            "train_dataloader['dataset']['dataset']['ann_file'] = 'gone.json'",
            [],
            r'error: train_dataloader \(.*gone\.json',
        ),
        (
            "test_evaluator['ann_file'] = 'gone.json'",
            [],
            r'val_evaluator.*gone\.json',
        ),
        (
            "optim_wrapper['constructor'] = "
            "'beit3_mm.LayerDecayOptimWrapperConstructor'",
            [],
            'holds no module with get_layer_depth',
        ),
        (
            "param_scheduler = [dict(type='LinearLR', begin=0, end=4, "
            "by_epoch=False), dict(type='CosineAnnealingLR', begin=4, "
            'by_epoch=False)]',
            [],
            r'param_scheduler\[1\] \(CosineAnnealingLR\) has begin=4, but '
            'train_cfg.max_iters=4 ends',
        ),
        ('', ['--launcher', 'pytorch'], 'dist_cfg.backend=gloo'),
    ],
)
def test_wrong_input_ends_with_one_message(
    run_tool, write_config, tmp_path, capsys, text, args, message
):
    if '--launcher' in args and torch.cuda.is_available():
        args = ['--cfg-options', 'no_such_key=1']
        message = "has no 'no_such_key'"
    with pytest.raises(SystemExit, match=message) as end:
        run_tool(
            'train', write_config(text), '--work-dir', tmp_path / 'w', *args
        )
    assert end.value.code.startswith('error: ')
    assert 'Traceback' not in end.value.code + capsys.readouterr().err


def test_missing_config(run_tool):
    with pytest.raises(SystemExit, match=r'no config file gone\.py'):
        run_tool('train', 'gone.py')
    with pytest.raises(FileNotFoundError):
        run_tool('train', 'gone.py', '--debug')


def test_broken_files_are_named(run_tool, write_config, tmp_path, coco):
    broken = tmp_path / 'broken'
    (broken / 'images').mkdir(parents=True)
    annotations = (coco / 'annotations.json').read_bytes()
    (broken / 'annotations.json').write_bytes(annotations[:100])
    with pytest.raises(SystemExit, match=r'broken/annotations\.json.*JSON'):
        run_tool(
            'train', write_config(data=broken), '--work-dir', tmp_path / 'w'
        )
    (broken / 'annotations.json').write_bytes(annotations)
    with pytest.raises(SystemExit) as end:
        run_tool(
            'train', write_config(data=broken), '--work-dir', tmp_path / 'w'
        )
    assert 'broken/images/' in end.value.code
    assert 'Traceback' not in end.value.code
    log = end.value.code.split()[-1].strip(')')
    assert 'Traceback' in Path(log).read_text()


def test_missing_host_is_named(run_tool, write_config, monkeypatch):
    monkeypatch.setattr(
        hosts,
        'find_spec',
        lambda name: None if name == 'mmdet' else find_spec(name),
    )
    with pytest.raises(SystemExit, match=r'mmdet.*beit3_mm\[hosts\]'):
        run_tool('train', write_config())


def test_hooks_that_do_not_fit_end_with_one_message(
    run_tool, write_config, tmp_path
):
    epochs = 'train_dataloader.sampler.type=beit3_mm.EpochSampler'
    with pytest.raises(SystemExit, match='Sampler does not fit IterBased'):
        run_tool(
            *('train', write_config(), '--work-dir', tmp_path / 'w'),
            *('--cfg-options', epochs),
        )


def test_resume_without_checkpoint_keeps_load_from(
    run_tool, write_config, tmp_path, monkeypatch
):
    torch.save({'nothing': torch.ones(1)}, tmp_path / 'first.pth')
    text = f'load_from = {str(tmp_path / "first.pth")!r}'
    with pytest.raises(SystemExit, match=r'nothing in .*first\.pth fits'):
        run_tool(
            *('train', write_config(text), '--work-dir', tmp_path / 'w'),
            '--resume',
        )


def test_another_batch_size_is_warned_of(
    run_tool, write_config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(Runner, 'train', lambda self: None)
    for batch_size, enable, warns in ((64, False, 1), (2, False, 0)):
        text = (
            f'auto_scale_lr = dict(base_batch_size={batch_size}, '
            f'enable={enable})'
        )
        run_tool('train', write_config(text), '--work-dir', tmp_path / 'w')
        printed = capsys.readouterr().out
        assert (
            printed.count('is for 64 images a step, this run has 2') == warns
        )


def test_a_contrastive_batch_is_warned_of(tiny_arch, monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    from train import warn_of_batch_size

    texts = []
    cfg = dict(
        auto_scale_lr=dict(base_batch_size=12, enable=True),
        optim_wrapper=dict(accumulative_counts=3),
    )
    runner = SimpleNamespace(
        cfg=Config(cfg),
        model=dual_encoders.build(tiny_arch),
        logger=SimpleNamespace(warning=texts.append),
    )
    for batch_size in (12, 4):
        runner.train_dataloader = SimpleNamespace(
            batch_sampler=SimpleNamespace(batch_size=batch_size)
        )
        warn_of_batch_size(runner)
    (text,) = texts  # 12 samples a step, but 4 at a time are compared
    assert 'is for 12 pairs, this run has 4, which neither accumulated' in text
    assert 'model.chunk_size' in text


def test_two_processes_train_resume_and_test(write_config, tmp_path):
    config, work_dir = write_config(), tmp_path / 'w'
    train = (config, '--work-dir', work_dir, '--resume')
    gloo = ('--cfg-options', 'env_cfg.dist_cfg.backend=gloo')
    short = (*gloo, 'train_cfg.max_iters=2')
    done = subprocess.run(
        ['bash', TOOLS / 'dist_train.sh', config, '2', *train[1:], *short],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            'OMP_NUM_THREADS': '1',
            'PYTHONFAULTHANDLER': '1',
        },
    )
    # pytest shows it if the test fails: what each process has said.
    print(done.stdout, done.stderr, sep='\n')
    assert done.returncode == 0
    test = (config, work_dir / 'iter_4.pth', '--work-dir', tmp_path / 't')
    run_tools_in_two_processes(
        tmp_path, ('train', *train, *gloo), ('test', *test, *gloo)
    )
    assert sorted(losses(work_dir)) == [3, 4]
    (metrics,) = (tmp_path / 't').glob('*/*.json')
    assert 'coco/bbox_mAP' in json.loads(metrics.read_text())


def test_interruption_says_how_to_go_on(
    run_tool, write_config, tmp_path, monkeypatch
):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, 'train', interrupted)
    with pytest.raises(SystemExit, match=r'at iteration 0; go on with --res'):
        run_tool('train', write_config(), '--work-dir', tmp_path / 'w')


@pytest.mark.parametrize('inputs', [('dist_train', 1), ('dist_test', 2)])
def test_scripts_start_processes(tmp_path, inputs):
    script, number = inputs
    files = ['config.py', 'x.pth'][:number]
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)

    def arguments(**variables):
        path = f'{tmp_path}:{os.environ["PATH"]}'
        command = ['bash', TOOLS / f'{script}.sh', *files, '8', '--x']
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={'PATH': path, **variables},
            check=True,
        )
        return done.stdout.splitlines()

    start, end = (
        ['-m', 'torch.distributed.run'],
        [
            '--nproc-per-node=8',
            str(TOOLS / f'{script.removeprefix("dist_")}.py'),
            *(*files, '--launcher', 'pytorch', '--x'),
        ],
    )
    # On one machine runs must not meet at one port.
    assert arguments() == [*start, '--standalone', *end]
    assert arguments(NNODES='2', NODE_RANK='1', MASTER_ADDR='a') == [
        *(*start, '--nnodes=2', '--node-rank=1'),
        *('--master-addr=a', '--master-port=29500', *end),
    ]


@pytest.mark.parametrize(
    'script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test']
)
def test_scripts_show_their_usage(script):
    done = subprocess.run(
        ['bash', TOOLS / f'{script}.sh'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: bash tools/{script}.sh ')
