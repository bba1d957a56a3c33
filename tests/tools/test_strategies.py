# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""One run by one process, and by two that share its model."""

import math

import pretraining_runs
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import FlexibleRunner
from torch import nn
from two_processes import run_in_two_processes, run_tools_in_two_processes

import beit3_mm.engine  # noqa: F401
from beit3_mm.engine import FSDP2Strategy

PARTS = ('image', 'text', 'pair_image', 'pair_text')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return pretraining_runs.write_data(tmp_path_factory.mktemp('corpora'))


@pytest.fixture
def config(data, tokenizer_file, tmp_path):
    path = tmp_path / 'tiny_mdm.py'
    return pretraining_runs.write_config(path, data, tokenizer_file)


# Adam would make whole steps of rounding errors, where a gradient is zero.
SGD = """
optim_wrapper = dict(
    type='mmengine.OptimWrapper',  # not in bfloat16
    optimizer=dict(
        _delete_=True, type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0))
train_dataloader.update(num_workers=0, persistent_workers=False)
"""


def trained(path):
    """Returns weights and states of the optimizer."""
    checkpoint = torch.load(path, weights_only=True)
    return checkpoint['state_dict'], checkpoint['optimizer']


def test_checkpoints_pass_between_one_process_and_two_that_share(
    config, run_tool, tmp_path
):
    one, two = tmp_path / 'one', tmp_path / 'two'
    config.write_text(config.read_text() + SGD)
    run_tool('train', config, '--work-dir', one)
    half = ('--cfg-options', 'train_dataloader.batch_size=3')
    sharded = ('train', config, '--strategy', 'fsdp2', '--resume')
    two.mkdir()
    three = (one / 'iter_3.pth').read_bytes()
    (two / 'iter_3.pth').write_bytes(three)
    run_tools_in_two_processes(tmp_path, (*sharded, '--work-dir', two, *half))
    torch.testing.assert_close(
        trained(two / 'iter_6.pth'),
        trained(one / 'iter_6.pth'),
        rtol=1e-5,
        atol=1e-6,
    )
    longer = ('--cfg-options', 'train_cfg.max_iters=7')
    for folder in (one, two):
        run_tool('train', config, '--work-dir', folder, '--resume', *longer)
    rows = [pretraining_runs.scalars(folder)[7] for folder in (one, two)]
    for part in PARTS:
        assert math.isclose(
            *(row[f'loss_{part}'] for row in rows), rel_tol=1e-4
        )


def parameter_memory(folder, model):
    """Returns the bytes of parameters of this process, and of all."""
    strategy = FSDP2Strategy(
        work_dir=str(folder), env_kwargs=dict(launcher='pytorch')
    )
    strategy.prepare(model)
    params = list(strategy.model.parameters())
    whole = sum(param.numel() for param in params)
    own = sum(param.to_local().numel() for param in params)
    return own, whole


def test_each_process_holds_half_of_the_parameters(config, tmp_path):
    model = Config.fromfile(config).model
    for own, whole in run_in_two_processes(
        parameter_memory, tmp_path, tmp_path, model
    ):
        assert own <= 0.6 * whole


def test_batch_norms_are_synchronised_where_the_config_says(
    config, run_tool, tmp_path, monkeypatch
):
    built = []

    def stop(cfg):
        built.append(cfg.strategy.get('sync_bn'))
        raise ValueError('enough')

    monkeypatch.setattr(FlexibleRunner, 'from_cfg', stop)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    config.write_text(f"{config.read_text()}\nsync_bn = 'torch'")
    for launcher in ('pytorch', 'none'):
        with pytest.raises(SystemExit, match='enough'):
            run_tool(
                *('train', config, '--strategy', 'fsdp2'),
                *('--launcher', launcher, '--work-dir', tmp_path),
            )
    assert built == ['torch', None]


def test_wrong_input(config, run_tool, tmp_path, monkeypatch):
    sharded = ('train', config, '--strategy', 'fsdp2', '--work-dir', tmp_path)
    with pytest.raises(SystemExit, match=r"strategy\.layers=\['No'\]"):
        run_tool(
            *sharded,
            *('--cfg-options', 'strategy.layers=No'),
        )
    config.write_text(
        f"{config.read_text()}\ncustom_hooks = [dict(type='mmengine.EMAHook')]"
    )
    with pytest.raises(SystemExit, match='EMAHook, which copies the model'):
        run_tool(*sharded)
    for name in ('bf16', 'int8', '', 'float8_e4m3fn', torch.bfloat16):
        with pytest.raises(ValueError, match=f'param_dtype={name!r} must be'):
            FSDP2Strategy(param_dtype=name)
    strategy = FSDP2Strategy(
        work_dir=str(tmp_path),
        env_kwargs=dict(launcher='none'),
        layers='Linear',
    )
    model = nn.Sequential(nn.Linear(2, 2))
    model.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r'without a dimension.*: scale\. Gi'):
        strategy._wrap_model(model)
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(
        ImportError, match=r'needs torch >= 2\.6, this is 2\.5\.1'
    ):
        FSDP2Strategy()
