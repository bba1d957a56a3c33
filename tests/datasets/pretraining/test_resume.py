# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A run of 2 processes with 2 workers each, stopped within a shard."""

import io
import itertools
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn
from two_processes import run_in_two_processes

import beit3_mm  # noqa: F401

STEPS, SAVED, BATCH = 8, 5, 6
_run_number = itertools.count()


@MODELS.register_module(force=True)
class SampleReader(BaseModel):
    """Notes which samples it gets, and a sum over what they hold."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for kind, samples in data_samples.items():
            for i, sample in enumerate(samples):
                name = sample.get('img_path', sample.get('text_place'))
                numbers = {
                    key: int(items[i].sum())
                    for key, items in inputs[kind].items()
                }
                skipped = sample.get('skipped', [])
                self.seen.append((kind, name, numbers, skipped))
        return dict(loss=self.weight)


def _write_shard(path, first, number, damaged=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    with tarfile.open(path, 'w') as tar:
        for i in range(first, first + number):
            img = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
            image = cv2.imencode('.png', img)[1].tobytes()
            if i in damaged:
                image = image[: len(image) // 2]
            for suffix, data in (('png', image), ('txt', b'red circle')):
                info = tarfile.TarInfo(f'{i:05d}.{suffix}')
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def corpora(tmp_path):
    """Shards of images and pairs, one of them cut, and texts."""
    root = tmp_path / 'data'
    for number in range(2):
        _write_shard(root / f'images/{number}.tar', 20 * number, 13, {3})
        _write_shard(root / f'pairs/{number}.tar', 20 * number, 11, {25})
    path = root / 'pairs/1.tar'
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    for name, text in (('0.txt', 'the red circle is above\n' * 50), ('1', '')):
        (root / name).with_suffix('.txt').write_text(text)
    return root


def kinds(root, tokenizer_file):
    view = [
        dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
        dict(type='mmcv.RandomFlip', prob=0.5),
        dict(
            type='beit3_mm.TwoViews',
            img_size=14,
            tokenizer_img_size=16,
            crop_ratio_range=(0.2, 1),
        ),
        dict(type='beit3_mm.BlockMask', patch_size=2, mask_ratio=0.4),
    ]
    spm = str(tokenizer_file)
    mask = dict(
        type='beit3_mm.MaskText',
        model_file=spm,
        mask_prob=0.5,
        mask_special=False,
    )
    pack = dict(type='beit3_mm.PackMultimodalInputs')
    shards = dict(type='beit3_mm.ShardDataset', data_root=str(root))
    text = dict(
        type='beit3_mm.TextCorpusDataset',
        data_root=str(root),
        files='*.txt',
        bytes_per_sample=60,
        pipeline=[
            dict(type='beit3_mm.PackText', model_file=spm, max_tokens=30),
            mask,
            pack,
        ],
    )
    tokenize = dict(type='beit3_mm.TokenizeText', model_file=spm)
    parts = dict(
        image=dict(
            shards,
            shards='images/*.tar',
            with_text=False,
            pipeline=[*view, pack],
        ),
        text=text,
        pair=dict(
            shards,
            shards='pairs/*.tar',
            with_text=True,
            pipeline=[*view, tokenize, mask, pack],
        ),
    )
    return parts


def train_dataloader(root, tokenizer_file):
    return dict(
        dataset=dict(
            type='beit3_mm.SeededDataset',
            dataset=dict(
                type='beit3_mm.MixedDataset',
                datasets=kinds(root, tokenizer_file),
            ),
        ),
        sampler=dict(
            type='beit3_mm.MixedSampler', ratio=dict(image=1, text=1, pair=1)
        ),
        collate_fn=dict(type='beit3_mm.collate_kinds'),
        batch_size=BATCH,
        num_workers=2,
        persistent_workers=True,
    )


def train(config, **changes):
    """Returns what this process has seen, as the numbers of its steps."""
    config = Config(
        dict(
            config,
            experiment_name=f'resume{next(_run_number)}',
            model=dict(type='SampleReader'),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=STEPS),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', by_epoch=False, interval=SAVED
                ),
                safe_checkpoint=dict(type='beit3_mm.SafeCheckpointHook'),
                load_checkpoint=dict(type='beit3_mm.LoadCheckpointHook'),
                sampler_seed=dict(type='beit3_mm.SampleOrderHook'),
            ),
            custom_hooks=[
                dict(type='beit3_mm.SkippedSamplesHook', interval=3)
            ],
            randomness=dict(seed=1, diff_rank_seed=True),
            launcher='none',
            log_level='WARNING',
            **changes,
        )
    )
    Runner._log_env = lambda self, env_cfg: None  # asks compilers for long
    runner = Runner.from_cfg(config)
    runner.train()
    runner.train_dataloader._iterator._shutdown_workers()
    return runner.model.seen


def run_and_resume(config, work_dir):
    """Trains, then goes on from the checkpoint within the run."""
    whole = train(config, work_dir=work_dir)
    late = train(
        config,
        work_dir=f'{work_dir}_resumed',
        load_from=f'{work_dir}/iter_{SAVED}.pth',
        resume=True,
    )
    return whole, late


def test_a_restart_within_a_shard_gives_the_identical_samples(
    corpora, tokenizer_file, tmp_path
):
    config = dict(train_dataloader=train_dataloader(corpora, tokenizer_file))
    work_dir = str(tmp_path / 'run')
    streams = run_in_two_processes(run_and_resume, tmp_path, config, work_dir)
    for whole, late in streams:
        assert len(whole) == STEPS * BATCH
        assert late == whole[SAVED * BATCH :]
        for start in range(0, len(whole), BATCH):
            kinds = [x[0] for x in whole[start : start + BATCH]]
            assert sorted(kinds) == sorted(['image', 'pair', 'text'] * 2)
    names = [[x[1] for x in whole] for whole, _ in streams]
    assert names[0] != names[1]
    # The position lies within a shard: members of it come before and after.
    for whole, _ in streams:
        shards = [x[1].rpartition('/')[0] for x in whole if x[0] == 'image']
        before, after = shards[: SAVED * 2], shards[SAVED * 2 :]
        assert set(before) & set(after)
    check_report(Path(work_dir), corpora, streams)


def check_report(work_dir, corpora, streams):
    """Each damaged file is named once, in whichever process it came."""
    lines = (work_dir / 'skipped.txt').read_text().splitlines()
    assert len(set(lines)) == len(lines)
    drawn = {x for whole, _ in streams for sample in whole for x in sample[3]}
    assert any('images/0.tar/00003.png' in line for line in drawn)
    left_out = [line for line in lines if line not in drawn]
    assert sorted(drawn) == sorted(set(lines) - set(left_out))
    assert len(left_out) == 2
    assert left_out[0] == f'text\t{corpora}/1.txt: the file is empty'
    assert left_out[1].startswith(f'pair\t{corpora}/pairs/1.tar: cut')
