# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Runs a function of a test module in two processes that talk by gloo."""

import multiprocessing

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from beit3_mm.engine.cli import end_processes

# Importing the hosts takes longer than most tests. A server imports them
# once, after what mends them; each process is forked from it, and not from
# pytest and its threads.
multiprocessing.set_forkserver_preload(
    ['beit3_mm', 'mmdet.apis', 'mmseg.apis', 'mmpretrain.apis']
)


def run_in_two_processes(function, folder, *args):
    """Returns what `function(*args)` returns in both, tensors and values."""
    mp.start_processes(
        _work,
        (str(folder), function, args),
        nprocs=2,
        start_method='forkserver',
    )
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def _work(rank, folder, function, args):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    torch.save(function(*args), f'{folder}/{rank}.pth')
    end_processes()
