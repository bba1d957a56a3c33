# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Trains a model: `python tools/train.py CONFIG [--resume] [--amp] ...`.

Any config of mmengine's Runner will do. At the end it says where checkpoint,
log and curves are.
"""

import argparse
import sys
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.runner import FlexibleRunner, Runner

from beit3_mm.engine import cli
from beit3_mm.engine.dead_workers import dead_workers_explained
from beit3_mm.engine.loading import use_safe_loading
from beit3_mm.engine.preemption import Preempted
from beit3_mm.engine.safe_checkpoint import (
    checkpoint_to_resume,
    latest_checkpoint,
)
from beit3_mm.engine.vocabulary_check import check_vocabularies
from beit3_mm.models.multimodal.dual_encoder import DualEncoder

# Optimizer wrappers that `--amp` may replace.
REPLACEABLE = ('OptimWrapper', 'AmpOptimWrapper')
PREEMPTED = 143  # the exit code of a process that SIGTERM ends
# How the processes of a run share its model.
STRATEGIES = {
    'ddp': None,  # mmengine's Runner does it where there are several
    'fsdp2': dict(type='beit3_mm.FSDP2Strategy'),
    'deepspeed': dict(type='mmengine.DeepSpeedStrategy'),
}


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='latest',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a name, from the newest one '
        'in the work dir, if there is any',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='compute in bfloat16 where it is safe, on CPU and GPU',
    )
    parser.add_argument(
        '--strategy',
        choices=list(STRATEGIES),
        help='how processes share the model: each has all of it (ddp, the '
        "config's), a part of every layer (fsdp2), or as the package "
        'deepspeed and the strategy of the config say (deepspeed)',
    )
    cli.add_arguments(parser)
    return parser.parse_args()


def use_amp(cfg: Config) -> None:
    """Replaces the optimizer wrapper by the one that computes in bfloat16.

    Raises:
        ValueError: If the config has an optimizer wrapper of its own kind.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if kind.split('.')[-1] not in REPLACEABLE:
        raise ValueError(f'--amp cannot replace optim_wrapper.type={kind!r}')
    wrapper.type = 'beit3_mm.AmpOptimWrapper'
    for option in ('loss_scale', 'dtype'):  # of mmengine's AmpOptimWrapper
        wrapper.pop(option, None)


def use_strategy(cfg: Config, name: str) -> None:
    """Puts a strategy into the config, or leaves its options there."""
    strategy, given = STRATEGIES[name], cfg.get('strategy') or {}
    if strategy is None:
        cfg.pop('strategy', None)
    elif given.get('type', strategy['type']) == strategy['type']:
        cfg.strategy = dict(given, **strategy)
    else:
        cfg.strategy = strategy


def check_strategy(cfg: Config) -> None:
    """Refuses hooks that cannot work where the model is shared.

    Raises:
        ValueError: If there is one.
    """
    hooks = (cfg.get('custom_hooks'), cfg.get('default_hooks'))
    for hook in cli.dicts(list(hooks)):
        if str(hook.get('type')).split('.')[-1] == 'EMAHook':
            raise ValueError(
                f'a hook is {hook["type"]}, which copies the model: a '
                f'model that {cfg.strategy.type} shares between processes '
                'cannot be copied. Take the hook out, or --strategy ddp'
            )


def share_batch_norms(cfg: Config) -> None:
    """Hands `sync_bn` to our strategy: FlexibleRunner does not read it."""
    ours = str(cfg.strategy.get('type')).split('.')[-1] == 'FSDP2Strategy'
    # One process has nothing to synchronise.
    if ours and cfg.get('sync_bn') and cfg.launcher != 'none':
        cfg.strategy.setdefault('sync_bn', cfg.sync_bn)


def build_runner(args: argparse.Namespace) -> Runner | FlexibleRunner:
    """Builds everything that training needs, so that it fails early."""
    use_safe_loading(args.trust_checkpoint)
    cfg = cli.load_config(args)
    for key in ('train_cfg', 'train_dataloader', 'optim_wrapper'):
        if cfg.get(key) is None:
            raise ValueError(f'{args.config} has no {key}')
    if args.amp:
        use_amp(cfg)
    if args.strategy:
        use_strategy(cfg, args.strategy)
    checkpoint = args.resume
    if checkpoint == 'latest':
        checkpoint = checkpoint_to_resume(cfg.work_dir)
    if checkpoint:  # else `load_from` of the config stays
        cfg.load_from, cfg.resume = checkpoint, True
    cli.check_checkpoint(cfg.get('load_from'))
    check_schedule(cfg)
    cli.add_checkpoint_hooks(cfg, strict=cfg.get('resume', False))
    sharing = cfg.get('strategy') is not None
    if sharing:
        check_strategy(cfg)
        share_batch_norms(cfg)
    runner = (FlexibleRunner if sharing else Runner).from_cfg(cfg)
    if args.resume and not checkpoint:
        runner.logger.warning(
            f'no checkpoint to resume in {cfg.work_dir}: starting afresh'
        )
    if sharing:
        runner.model = runner.strategy.build_model(runner.model)
    stages = ('train_dataloader', 'val_dataloader', 'val_evaluator', 'model')
    check_vocabularies(runner.model, *map(cfg.get, stages))
    cli.build_loop(runner, 'train')
    cli.build_loop(runner, 'val')
    if not sharing:  # else the optimizer is of what the strategy makes
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    warn_of_batch_size(runner)
    return runner


def check_schedule(cfg: Config) -> None:
    """Compares the schedulers of the learning rate with the training's end.

    Raises:
        ValueError: If one would begin there, or later.
    """
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    for number, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        key = 'max_epochs' if by_epoch else 'max_iters'
        last = cfg.train_cfg.get(key)
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        if last is not None and end is None and begin >= last:
            raise ValueError(
                f'param_scheduler[{number}] ({scheduler.type}) has '
                f'{begin=}, but train_cfg.{key}={last} ends the training '
                'then: train longer, or let the warm-up end, and this '
                'begin, earlier'
            )


def warn_of_batch_size(runner: Runner) -> None:
    """Warns where a recipe is made for another batch size."""
    scale = runner.cfg.get('auto_scale_lr') or {}
    wanted = scale.get('base_batch_size')
    sampler = runner.train_dataloader.batch_sampler
    batch_size = sampler.batch_size * get_world_size()
    if not wanted:
        return
    if any(isinstance(x, DualEncoder) for x in runner.model.modules()):
        if batch_size != wanted:
            runner.logger.warning(
                f'{runner.cfg.filename} compares the images of a step with '
                f'all of its texts and is for {wanted} pairs, this run has '
                f'{batch_size}, which neither accumulated gradients nor '
                'another learning rate make up for: raise '
                'train_dataloader.batch_size, with model.chunk_size for what '
                'fits the memory at once'
            )
        return
    batch_size *= runner.cfg.optim_wrapper.get('accumulative_counts', 1)
    if batch_size != wanted and not scale.get('enable'):
        runner.logger.warning(
            f'the learning rate of {runner.cfg.filename} is for {wanted} '
            f'images a step, this run has {batch_size}: scale it by '
            '--cfg-options auto_scale_lr.enable=True'
        )


def summary(runner: Runner) -> str:
    """Says where the results are."""
    checkpoint = latest_checkpoint(runner.work_dir)
    curves = f'{runner.log_dir}/vis_data/scalars.json'
    if any(Path(curves).parent.glob('events.*')):
        curves = f'tensorboard --logdir {runner.log_dir}'
    return (
        f'checkpoint: {checkpoint or "none was saved"}\n'
        f'log: {cli.log_file(runner)}\n'
        f'curves: {curves}'
    )


def main() -> int:
    """Trains and returns the exit code, `PREEMPTED` after a signal.

    Wrong input ends with one message, Ctrl-C with a summary.
    """
    args = parse_args()
    with cli.plain_errors(args.debug, Exception):
        runner = build_runner(args)
    log = cli.log_file(runner)
    try:
        with (
            cli.plain_errors(args.debug, *cli.INPUT_ERRORS, log=log),
            dead_workers_explained(),
        ):
            runner.train()
    except KeyboardInterrupt:
        sys.exit(
            f'\ninterrupted at iteration {runner.iter}; go on with --resume\n'
            f'{summary(runner)}'
        )
    except Preempted as end:
        if is_main_process():
            print(f'\n{end}\n{summary(runner)}', file=sys.stderr)
        return PREEMPTED
    if is_main_process():
        print(f'\nfinished\n{summary(runner)}')
    return 0


if __name__ == '__main__':
    code = main()
    cli.end_processes()
    if code:
        sys.exit(code)
