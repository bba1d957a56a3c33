# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Runs that are killed time and again: some minutes, by `make proofs`."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pretraining_runs
import pytest
import torch
from accidents import PATIENCE, logged

from beit3_mm.engine.safe_checkpoint import latest_checkpoint

TOOLS = Path(__file__).parents[2] / 'tools'
KILLS, STEPS, INTERVAL = 12, 80, 4
# Paths, dropped at random, and averaged weights.
DRAWING = f"""
model['backbone'].update(drop_path_rate=0.3)
custom_hooks = [*_base_.custom_hooks, dict(type='mmengine.EMAHook')]
log_processor = dict(window_size=1)
train_cfg.update(max_iters={STEPS})
default_hooks['checkpoint'].update(interval={INTERVAL}, max_keep_ckpts=3)
train_dataloader.update(persistent_workers=False)
"""

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        not Path('/proc/self/task').exists(), reason='finds it as Linux does'
    ),
]


@pytest.fixture
def config(tokenizer_file, tmp_path):
    data = pretraining_runs.write_data(tmp_path / 'corpora')
    path = pretraining_runs.write_config(
        tmp_path / 'tiny_mdm.py', data, tokenizer_file
    )
    path.write_text(path.read_text() + DRAWING)
    return path


def train(config, work_dir, num_workers):
    """Starts a run in a group of processes of its own."""
    command = [sys.executable, TOOLS / 'train.py', config, '--resume']
    command += ['--work-dir', work_dir, '--cfg-options']
    command += [f'train_dataloader.num_workers={num_workers}']
    return start(command, work_dir)


def start(command, work_dir):
    with open(f'{work_dir}.txt', 'a') as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={
                **os.environ,
                'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
                'PYTHONPATH': str(TOOLS.parent),
                'OMP_NUM_THREADS': '1',
            },
        )


def wait_for_rows(process, work_dir, number):
    end = time.monotonic() + PATIENCE
    while sum(map(len, logged(work_dir).values())) < number:
        assert process.poll() is None, 'the training ended'
        assert time.monotonic() < end, 'the training hangs'
        time.sleep(0.01)


def killed_again_and_again(config, work_dir):
    """Kills a run `KILLS` times at random steps, then lets it end."""
    draw = random.Random(0)
    for kill in range(KILLS):
        before = sum(map(len, logged(work_dir).values()))
        process = train(config, work_dir, num_workers=kill % 3)
        wait_for_rows(process, work_dir, before + draw.randint(1, 6))
        time.sleep(draw.random() / 5)  # within a step, or while it saves
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        print('killed behind step', max(logged(work_dir)))
    assert train(config, work_dir, num_workers=1).wait() == 0


def test_a_run_with_twelve_kills_is_the_one_without(config, tmp_path):
    whole, run = tmp_path / 'whole', tmp_path / 'run'
    assert train(config, whole, num_workers=2).wait() == 0
    killed_again_and_again(config, run)
    expected, found = logged(whole), logged(run)
    assert sorted(found) == sorted(expected) == list(range(1, STEPS + 1))
    # Steps behind a checkpoint were done again, and are compared as well.
    assert sum(map(len, found.values())) > STEPS
    for step, rows in found.items():
        (right,) = expected[step]
        losses = {k: v for k, v in right.items() if 'loss' in k or k == 'lr'}
        assert len(losses) > 2
        for row in rows:
            assert {k: row[k] for k in losses} == pytest.approx(
                losses, rel=1e-6
            )
    ends = [
        torch.load(folder / f'iter_{STEPS}.pth', weights_only=True)
        for folder in (whole, run)
    ]
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(*(end[part] for end in ends))


def ranks(launcher):
    """Returns the ids of the processes that a launcher started."""
    tasks = Path(f'/proc/{launcher}/task').glob('*/children')
    children = [child for task in tasks for child in task.read_text().split()]
    return [
        int(child)
        for child in children
        if b'train.py' in Path(f'/proc/{child}/cmdline').read_bytes()
    ]


def test_a_launch_ends_when_one_process_dies(config, tmp_path):
    run = tmp_path / 'run'
    command = ['bash', TOOLS / 'dist_train.sh', config, '2', '--resume']
    command += ['--work-dir', run, '--cfg-options']
    process = start([*command, f'train_cfg.max_iters={STEPS}'], run)
    wait_for_rows(process, run, INTERVAL + 2)
    os.kill(ranks(process.pid)[-1], signal.SIGKILL)
    assert process.wait(PATIENCE) != 0
    newest = latest_checkpoint(run)
    done = torch.load(newest, weights_only=True)['meta']['iter']
    assert INTERVAL <= done < STEPS
    assert (
        start([*command, f'train_cfg.max_iters={done + 2}'], run).wait() == 0
    )
    assert f'resumed epoch: 0, iter: {done}' in Path(f'{run}.txt').read_text()
    assert latest_checkpoint(run) == str(run / f'iter_{done + 2}.pth')
