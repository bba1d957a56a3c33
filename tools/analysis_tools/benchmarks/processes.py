# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A training step that several processes share, as DDP does."""

import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from beit3_mm.engine.cli import end_processes
from benchmarks.measure import Setting, measure
from benchmarks.rows import Row
from benchmarks.workload import Workload

START_METHOD = 'spawn'


def measure_processes(
    workload: Workload,
    processes: int,
    threads: int,
    setting: Setting,
    repeats: int,
) -> Row:
    """Measures training steps in processes of their own, on the CPU.

    Args:
        workload: Its batch is shared out equally.
        processes: How many, connected by gloo.
        threads: Of each process.
        setting: Precision and clock; the device is the CPU.
        repeats: Number of timed steps.

    Returns:
        What the first process measured: FLOPs and memory are its own, samples
        those of all.
    """
    part = replace(workload, batch_size=workload.batch_size // processes)
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            work,
            (folder, processes, threads, part, setting, repeats),
            nprocs=processes,
            start_method=START_METHOD,
        )
        row = Row(**torch.load(Path(folder, 'row.pth')))
    if setting.clock == 'cpu':  # which adds up threads
        row = replace(row, seconds=[x / threads for x in row.seconds])
    return replace(row, samples=workload.batch_size)


def work(
    rank: int,
    folder: str,
    processes: int,
    threads: int,
    workload: Workload,
    setting: Setting,
    repeats: int,
) -> None:
    """Measures in one of the processes; the first writes `row.pth`."""
    torch.set_num_threads(threads)
    setting = replace(setting, device=torch.device('cpu'))
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=processes
    )
    wrap = DistributedDataParallel if processes > 1 else lambda model: model
    case = workload.training(setting, wrap)
    with contextlib.ExitStack() as stack:
        if rank:  # one shows the progress
            silence = stack.enter_context(open(os.devnull, 'w'))
            stack.enter_context(contextlib.redirect_stderr(silence))
        (result,) = measure([case], setting, repeats)
    if rank == 0:
        row = Row.of(result, 'processes', '', '', 0)
        torch.save(vars(row), Path(folder, 'row.pth'))
    end_processes()
