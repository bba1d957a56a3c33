# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from beit3_mm.engine import cli

THREADS = Path('/proc/self/task')


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise KeyError('x')
        except KeyError as error:
            raise ValueError('a.jpg is damaged') from error


def test_message_of_an_error_in_a_worker():
    iterator = iter(DataLoader(Broken(), num_workers=1))
    with pytest.raises(ValueError, match='Original Traceback') as error:
        next(iterator)
    iterator._shutdown_workers()
    assert cli.message(error.value) == 'a.jpg is damaged'


def test_message_of_a_key_error_has_no_quotes():
    assert cli.message(KeyError('no such key')) == 'no such key'


@pytest.mark.parametrize('ann_file', [None, 'annotations.json'])
def test_data_without_samples_are_named(ann_file):
    def build(*_):
        dataset = BaseDataset(lazy_init=True)
        dataset.load_data_list = list
        dataset.full_init()

    folders = dict(img_path='images/train', seg_map_path=None)
    dataset = dict(data_root='data/ade', data_prefix=folders)
    if ann_file:
        dataset['ann_file'] = ann_file
    runner = type('Runner', (), {'train_loop': property(build)})()
    runner.cfg = Config({'train_dataloader': {'dataset': dataset}})
    place = f'data/ade/{ann_file or "images/train, data/ade/"}'
    with pytest.raises(
        ValueError, match=rf'\({place}\): ValueError: the data set has no samp'
    ):
        cli.build_loop(runner, 'train')


def test_errors_of_other_kinds_pass():
    with pytest.raises(ZeroDivisionError), cli.plain_errors(False, ValueError):
        raise ZeroDivisionError


def test_a_traceback_that_cannot_be_written_is_said(tmp_path):
    # A folder in the place of the log, as little use as a full disk.
    with (
        pytest.raises(
            SystemExit, match=r'disk is full \(the traceback could'
        ) as end,
        cli.plain_errors(False, OSError, log=str(tmp_path)),
    ):
        raise OSError('the disk is full')
    assert 'Is a directory' in end.value.code


def test_only_gloo_runs_without_gpus(monkeypatch):
    started = []
    monkeypatch.setattr(
        cli.torch.distributed, 'init_process_group', started.append
    )
    cfg = Config(
        {
            'launcher': 'pytorch',
            'env_cfg': {'dist_cfg': {'backend': 'gloo'}},
            'find_unused_parameters': True,
            'sync_bn': 'torch',
        }
    )
    cli._init_cpu_processes(cfg)
    assert started == ['gloo']
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters
    assert 'sync_bn' not in cfg  # which CPUs do not have
    cfg.env_cfg.dist_cfg.backend = 'nccl'
    with pytest.raises(ValueError, match=r'nccl.*dist_cfg\.backend=gloo'):
        cli._init_cpu_processes(cfg)


def gloo_threads():
    names = [file.read_text() for file in THREADS.glob('*/comm')]
    return [name for name in names if 'gloo' in name]


@pytest.mark.skipif(not THREADS.exists(), reason='names threads as Linux does')
def test_gloos_threads_end_with_the_processes(tmp_path):
    cli.end_processes()  # where there are none
    dist.init_process_group(
        'gloo', f'file://{tmp_path}/store', rank=0, world_size=1
    )
    model = DistributedDataParallel(nn.Linear(1, 1))
    model.in_a_cycle = {'model': model}
    model(torch.ones(1, 1)).backward()
    assert gloo_threads()
    del model
    cli.end_processes()
    assert not dist.is_initialized()
    assert not gloo_threads()
