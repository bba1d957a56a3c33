# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the scripts in `tools/` share: arguments, configs, and plain errors."""

import argparse
import difflib
import gc
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

from beit3_mm.compat import require_hosts
from beit3_mm.compat.hosts import ORIGINALS

# Wrong input that shows only while a model runs: weights, images. Other
# errors then are faults of a program and keep their traceback.
INPUT_ERRORS = (ValueError, OSError)

# What numpy says when mmengine's data sets join the bytes of no samples.
NO_SAMPLES = 'need at least one array to concatenate'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that training and testing have in common."""
    parser.add_argument(
        '--work-dir', help='folder of logs and results (work_dirs/<config>)'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run',
    )
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of whatever builds a model and loads its weights."""
    add_config_arguments(parser)
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that hold Python objects; these can run any '
        'code, so insist only on files whose origin you trust',
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of whatever reads a config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change values of the config, such as '
        'train_dataloader.batch_size=2; a list is KEY="[a,b]"',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of an error'
    )


@contextmanager
def plain_errors(
    debug: bool, *kinds: type[Exception], log: str | None = None
) -> Iterator[None]:
    """Ends the program with one message when an error of `kinds` occurs.

    Args:
        debug: Whether to leave errors alone.
        *kinds: The errors that wrong input causes.
        log: A file that the traceback is added to.
    """
    try:
        yield
    except kinds as error:
        if debug:
            raise
        where = '--debug shows the traceback'
        if log is not None:
            where = _keep_traceback(log)
        sys.exit(f'error: {message(error)} ({where})')


def _keep_traceback(log: str) -> str:
    """Adds the traceback to a log; returns where it is."""
    try:
        with open(log, 'a', encoding='utf-8') as file:
            file.write(traceback.format_exc())
    except OSError as error:  # the error itself may be that the disk is full
        return f'the traceback could not be written: {error}'
    return f'the traceback is in {log}'


def message(error: Exception) -> str:
    """Returns what an error says, without quotes and tracebacks."""
    # KeyError would show its message in quotes.
    text = f'{error.args[0] if isinstance(error, KeyError) else error}'
    if 'Original Traceback' in text:  # of a worker process
        text = re.split(r'^[\w.]+Error: ', text, flags=re.MULTILINE)[-1]
    if NO_SAMPLES in text:
        text = (
            'the data set has no samples: no annotations, or no images whose '
            'names end in its img_suffix'
        )
    return text.strip()


def load_config(args: argparse.Namespace) -> Config:
    """Returns the config of a run from the command line.

    Raises:
        FileNotFoundError: As of `read_config`; so are the following.
        ValueError: Likewise, or if the launcher needs GPUs that are missing.
        ImportError: Likewise.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or str(Path('work_dirs', Path(args.config).stem))
    )
    cfg.launcher = args.launcher
    if cfg.launcher != 'none' and not torch.cuda.is_available():
        _init_cpu_processes(cfg)
    return cfg


def read_config(path: str | Path, options: dict[str, Any]) -> Config:
    """Returns a config with options applied.

    Args:
        path: The config file.
        options: Values by their dotted keys.

    Raises:
        FileNotFoundError: If the config file does not exist.
        ValueError: If it cannot be read, or an option names an unknown key.
        ImportError: If it needs a host that is not installed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config file {path}')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        # `_base_ = 'mmdet::...'` says that a distribution is not installed
        require_hosts(*[host for host in ORIGINALS if host in str(error)])
        raise ValueError(
            f'config {path}: {type(error).__name__}: {error}'
        ) from error
    known = set(cfg).union(
        *(inspect.signature(x).parameters for x in (Runner, FlexibleRunner))
    )
    for option in options:
        key = option.split('.')[0]
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise ValueError(
                f'--cfg-options {option}: {path} has no {key!r}'
                + (f'; did you mean {close[0]!r}?' if close else '')
            )
    cfg.merge_from_dict(options)
    require_hosts(*_hosts(cfg))
    return cfg


def check_checkpoint(path: str | None) -> None:
    """Raises FileNotFoundError, before anything is built, for a wrong name."""
    if path and '://' not in path and not Path(path).expanduser().is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')


def add_checkpoint_hooks(cfg: Config, strict: bool) -> None:
    """Sees to it that a config of whatever origin has our hooks.

    They write and load checkpoints, and deal with the accidents of a run.
    """
    hooks = cfg.setdefault('default_hooks', {})
    hooks['safe_checkpoint'] = {'type': 'beit3_mm.SafeCheckpointHook'}
    hooks['load_checkpoint'] = {
        'type': 'beit3_mm.LoadCheckpointHook',
        'strict': strict,
    }
    # None in the config leaves one of these out.
    hooks.setdefault('iteration_seed', {'type': 'beit3_mm.IterationSeedHook'})
    hooks.setdefault('finite_loss', {'type': 'beit3_mm.FiniteLossHook'})
    hooks.setdefault('preemption', {'type': 'beit3_mm.PreemptionHook'})


def build_loop(runner: Runner, stage: str) -> Any:
    """Builds data and metrics of a stage, 'train', 'val' or 'test'.

    Raises:
        ValueError: If they cannot be built; the message names the annotation
            files, or the folders of data without any.
    """
    try:
        return getattr(runner, f'{stage}_loop')
    except Exception as error:
        parts = [f'{stage}_{part}' for part in ('dataloader', 'evaluator')]
        configs = {part: runner.cfg.get(part) for part in parts}
        files = dict.fromkeys(_sources(list(configs.values())))
        raise ValueError(
            f'{" or ".join(part for part in parts if configs[part])} '
            f'({", ".join(files) or "no ann_file"}): {type(error).__name__}: '
            f'{message(error)}'
        ) from error


def log_file(runner: Runner) -> str:
    """Returns the path of a run's log."""
    return f'{runner.log_dir}/{runner.timestamp}.log'


def end_processes() -> None:
    """Ends the connections of a distributed run; does nothing in others.

    To be called when nothing refers to the runner any more: a thread of gloo
    that still releases the last gradients while Python shuts down aborts the
    process (exit code -6). Such threads live as long as the process group,
    which every DDP model holds, and models lie in cycles of references.
    """
    if not torch.distributed.is_initialized():
        return
    gc.collect()
    torch.distributed.destroy_process_group()


def dicts(config: Any) -> Iterator[dict]:
    """Yields each dict in a config, at any depth."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from dicts(value)


def _sources(config: Any) -> Iterator[str]:
    """Yields the annotation files that are named anywhere in a config.

    Of data sets without one, it yields their folders.
    """
    for part in dicts(config):
        root = part.get('data_root') or ''
        if isinstance(part.get('ann_file'), str):
            yield os.path.join(root, part['ann_file'])
            continue
        for folder in (part.get('data_prefix') or {}).values():
            yield os.path.join(root, folder or '')


def _hosts(cfg: Config) -> list[str]:
    """Returns the hosts whose types a config names."""
    scopes = {
        str(part.get(key)).split('.')[0]
        for part in dicts(cfg.to_dict())
        for key in ('type', '_scope_')
    }
    return sorted(scopes & {'mmcv', 'mmdet', 'mmseg', 'mmpretrain'})


def _init_cpu_processes(cfg: Config) -> None:
    """Starts a distributed run without GPUs, which mmengine does not.

    mmengine calls `torch.cuda.set_device`, unless processes are connected
    already, and gives DDP a device id.
    """
    backend = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend', 'nccl')
    if backend != 'gloo' or cfg.launcher != 'pytorch':
        raise ValueError(
            f'there is no GPU: a run with --launcher {cfg.launcher} and '
            f'{backend=} needs some. On CPUs use --launcher pytorch and '
            '--cfg-options env_cfg.dist_cfg.backend=gloo'
        )
    torch.distributed.init_process_group('gloo')
    if cfg.pop('sync_bn', None):
        print_log(
            'batch norms count in each process alone: torch synchronises '
            'them on GPUs only',
            level=logging.WARNING,
        )
    cfg.setdefault(
        'model_wrapper_cfg',
        {
            'type': 'mmengine.MMDistributedDataParallel',
            'device_ids': None,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            'broadcast_buffers': False,
        },
    )
