# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A tiny segmentor through the tools: training, test, pictures, files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = '{shapes}'
arch = dict(img_size=64, embed_dims=32, feedforward_channels=64)
window = (64, 64)
model = dict(
    data_preprocessor=dict(size=window, test_cfg=dict(size=window)),
    backbone=dict(vit=arch, conv_channels=4),
    decode_head=dict(in_channels=[32] * 4, train_cfg=dict(num_points=64)),
    auxiliary_head=dict(in_channels=32),
    test_cfg=dict(crop_size=window, stride=(48, 48)))
sizes = {{k: window for k in ('scale', 'crop_size')}}
pipelines = [
    [dict(s, **{{k: v for k, v in sizes.items() if k in s}}) for s in p]
    for p in (_base_.train_pipeline, _base_.test_pipeline)]
data = dict(data_root='{data}')
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(data, pipeline=pipelines[0])))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data, pipeline=pipelines[1]))
test_dataloader = val_dataloader
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmseg.Resize', scale=window, keep_ratio=True)]
train_cfg = dict(max_iters=2, val_interval=2)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two images in ADE20K's folders, not square, and one without a mask."""
    folder = tmp_path_factory.mktemp('ade')
    rng = np.random.default_rng(0)
    for split in ('training', 'validation', 'testing'):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True)
        for i in range(2):
            image = rng.integers(0, 256, (50, 80, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / f'images/{split}/{i}.jpg')
            if split != 'testing':
                mask = np.zeros((50, 80), np.uint8)
                mask[10:30, 10:50] = i + 1
                path = folder / f'annotations/{split}/{i}.png'
                Image.fromarray(mask).save(path)
    return folder


@pytest.fixture
def config(tmp_path, data):
    shapes = 'projects/shapes/configs/seg/beit3_mask2former_shapes.py'
    path = tmp_path / 'segmentor.py'
    path.write_text(CONFIG.format(shapes=ROOT / shapes, data=f'{data}/'))
    return path


def test_training_testing_and_files(run_tool, config, tmp_path, capsys):
    work_dir, out, show = (tmp_path / name for name in ('w', 'out', 'show'))
    run_tool('train', config, '--work-dir', work_dir)
    assert 'mIoU' in capsys.readouterr().out
    test = ('test', config, work_dir / 'iter_2.pth')
    run_tool(*test, '--work-dir', tmp_path / 'plain', '--show-dir', show)
    text = capsys.readouterr().out
    assert 'mIoU' in text
    pictures = Path(text.splitlines()[-1].removeprefix('pictures: '))
    assert pictures.is_relative_to(show)
    assert len(list(pictures.glob('*.png'))) == 2
    run_tool(*test, '--work-dir', tmp_path / 'tta', '--tta')
    assert 'mIoU' in capsys.readouterr().out
    run_tool(
        *(*test, '--work-dir', tmp_path / 'format', '--format-only'),
        *('--out', out, '--cfg-options'),
        'test_dataloader.dataset.data_prefix.img_path=images/testing',
    )
    assert capsys.readouterr().out.splitlines()[-1] == f'predictions: {out}'
    for i in range(2):
        assert Image.open(out / f'{i}.png').size == (80, 50)


def test_a_missing_mask_ends_with_one_message(
    run_tool, config, tmp_path, data
):
    mask = data / 'annotations/training/0.png'
    content = mask.read_bytes()
    mask.unlink()
    with pytest.raises(SystemExit, match=r'0\.png: the mask of .*0\.jpg is'):
        run_tool('train', config, '--work-dir', tmp_path / 'w')
    mask.write_bytes(content)


def test_a_file_is_no_folder(run_tool, config, tmp_path):
    (tmp_path / 'x.pth').touch()
    with pytest.raises(SystemExit, match=r'r\.json must be a folder'):
        run_tool('test', config, tmp_path / 'x.pth', '--out', 'r.json')


@pytest.fixture
def checkpoint(config, tmp_path):
    """Returns a checkpoint of the untrained model."""
    path = tmp_path / 'segmentor.pth'
    with DefaultScope.overwrite_default_scope('mmengine'):
        model = MODELS.build(Config.fromfile(config).model)
    torch.save(model.state_dict(), path)
    return path


def test_a_head_for_other_classes_than_the_data(run_tool, config, tmp_path):
    head = 'num_classes=5, loss_cls=dict(class_weight=[1.0] * 6)'
    change = f"model['decode_head'].update({head})"
    config.write_text(f'{config.read_text()}\n{change}\n')
    message = 'decode_head has num_classes=5, but .* has 13 classes'
    with pytest.raises(SystemExit, match=message):
        run_tool('train', config, '--work-dir', tmp_path / 'w')


def test_a_folder_without_images(run_tool, config, data, tmp_path):
    option = (
        'train_dataloader.dataset.dataset.data_prefix.img_path=annotations'
    )
    message = rf'{data}/annotations, .*: ValueError: the data set has no sampl'
    with pytest.raises(SystemExit, match=message):
        run_tool(
            *('train', config, '--work-dir', tmp_path / 'w'),
            *('--cfg-options', option),
        )


def test_no_map_of_classes_is_overwritten(
    run_tool, config, checkpoint, data, tmp_path
):
    folder = data / 'images/testing/more'
    folder.mkdir()
    image = folder / '1.jpg'
    image.write_bytes((data / 'images/testing/1.jpg').read_bytes())
    message = rf'{data}/images/testing/(more/)?1\.jpg would both be 1\.png'
    with pytest.raises(SystemExit, match=message):
        run_tool(
            *('test', config, checkpoint, '--work-dir', tmp_path / 'w'),
            *('--format-only', '--cfg-options'),
            'test_dataloader.dataset.data_prefix.img_path=images/testing',
        )
    image.unlink()
    folder.rmdir()
