# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Runs a function of a test module in two processes that talk by gloo."""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.runner import Runner

from beit3_mm.engine.cli import end_processes

TOOLS = Path(__file__).parents[1] / 'tools'

# Importing the hosts takes longer than most tests. A server imports them
# once, after what mends them; each process is forked from it, and not from
# pytest and its threads.
multiprocessing.set_forkserver_preload(
    ['beit3_mm', 'mmdet.apis', 'mmseg.apis', 'mmpretrain.apis']
    + ['torch.distributed.fsdp']
)


def run_in_two_processes(function, folder, *args):
    """Returns what `function(*args)` returns in both, tensors and values."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    mp.start_processes(
        _work,
        (str(folder), function, args),
        nprocs=2,
        start_method='forkserver',
    )
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def run_tools_in_two_processes(folder, *commands):
    """Runs `tools/<name>.py` with arguments, as torchrun would start them."""
    # A port for each command: a process that is ahead would else meet the
    # store that the other one has not closed yet, and wait for ever.
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(('localhost', 0)))
            for _ in commands
        ]
        ports = [server.getsockname()[1] for server in servers]
    run_in_two_processes(_run_tools, folder, ports, commands)


def _run_tools(ports, commands):
    rank = str(dist.get_rank())
    dist.barrier()  # the other one may still be connecting
    dist.destroy_process_group()
    os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE='2')
    os.environ.update(MASTER_ADDR='localhost')
    Runner._log_env = lambda self, env_cfg: None  # asks compilers for long
    for port, (name, *args) in zip(ports, commands):
        os.environ['MASTER_PORT'] = str(port)
        sys.argv = [name, *map(str, args), '--launcher', 'pytorch']
        runpy.run_path(str(TOOLS / f'{name}.py'), run_name='__main__')


def _work(rank, folder, function, args):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    torch.save(function(*args), f'{folder}/{rank}.pth')
    end_processes()
