# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Trainings in processes of their own, and what may happen to them."""

import json
import multiprocessing
import os
import runpy
import sys
import time
from pathlib import Path

import torch
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from two_processes import TOOLS  # and a server that has the hosts imported

PATIENCE = 600  # seconds; a run that takes as long hangs


def start_training(output, step, go, *args):
    """Starts `tools/train.py` with arguments; what it says goes to a file.

    When it has logged a step it waits until there is a file named `go`, so
    that an accident comes neither earlier nor later.
    """
    process = multiprocessing.get_context('forkserver').Process(
        target=_train, args=(str(output), step, go, [str(a) for a in args])
    )
    process.start()
    return process


def _train(output, step, go, args):
    with open(output, 'w') as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    Runner._log_env = lambda self, env_cfg: None  # asks compilers for long
    log = LoggerHook.after_train_iter

    def log_and_wait(self, runner, *args, **kwargs):
        log(self, runner, *args, **kwargs)
        while runner.iter + 1 == step and not go.exists():
            time.sleep(0.01)

    LoggerHook.after_train_iter = log_and_wait
    sys.argv = ['train', *args]
    runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')


def wait_for_step(process, work_dir, step):
    """Returns when a step was logged."""
    end = time.monotonic() + PATIENCE
    while max(logged(work_dir), default=0) < step:
        assert process.exitcode is None, 'the training ended'
        assert time.monotonic() < end, 'the training hangs'
        time.sleep(0.01)


def ends(process):
    """Waits for the end; returns the exit code."""
    process.join(PATIENCE)
    assert process.exitcode is not None, 'the training hangs'
    return process.exitcode


def logged(work_dir):
    """Returns the rows that all runs logged, in a list for each step."""
    found = {}
    for log in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith('\n'):  # else it was cut by a kill
                row = json.loads(line)
                found.setdefault(row['step'], []).append(row)
    return found


def workers(pid):
    """Returns the ids of a process's data-loader workers."""
    tasks = Path(f'/proc/{pid}/task').glob('*/children')
    children = [child for task in tasks for child in task.read_text().split()]
    return [
        int(child)
        for child in children
        if 'data_worker' in Path(f'/proc/{child}/comm').read_text()
    ]
