# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What a user gets who installs the wheel and inherits a config."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SOURCES = ('beit3_mm', 'configs', 'tools')

# 15 lines: another size, other classes, other data.
CONFIG = """
_base_ = 'beit3_mm::det/beit3_cascade_coco.py'
arch = dict(_base_.archs.tiny, num_layers=2, embed_dims=48)
head = dict(num_classes=2)
box = dict(fc_out_channels=64, **head)
heads = [dict(h, **box) for h in _base_.model.roi_head.bbox_head]
model = dict(
    backbone=dict(**arch, global_attn_indexes=(1,), init_cfg=None),
    neck=dict(in_channels=48), roi_head=dict(bbox_head=heads, mask_head=head),
)
steps = [dict(s) for s in _base_.train_pipeline]
for s in steps:
    s.update({k: (64, 64) for k in ('scale', 'crop_size', 'size') if k in s})
data = dict(data_root='data/', metainfo=dict(classes=('cat', 'dog')))
train_dataloader = dict(dataset=dict(dataset=dict(data, pipeline=steps)))
train_cfg = dict(max_iters=5)
"""


def write_coco(folder, num_images=2):
    """Writes images of 64 pixels with one box of each class."""
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'train2017').mkdir()
    boxes = {1: [8, 8, 40, 40], 2: [20, 16, 40, 44]}
    images, annotations = [], []
    for i in range(num_images):
        pixels = np.random.default_rng(i).integers(0, 255, (64, 64, 3))
        name = f'{i}.png'
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / 'train2017' / name)
        images.append(dict(id=i, file_name=name, height=64, width=64))
        for category, (x, y, w, h) in boxes.items():
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=category,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[polygon],
                )
            )
    categories = [dict(id=1, name='cat'), dict(id=2, name='dog')]
    text = json.dumps(
        dict(images=images, annotations=annotations, categories=categories)
    )
    for split in ('train', 'val'):
        path = folder / f'annotations/instances_{split}2017.json'
        path.write_text(text)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Returns a folder that holds nothing but the installed wheel."""
    base = tmp_path_factory.mktemp('wheel')
    source, target = base / 'source', base / 'site'
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(
            ROOT / name,
            source / name,
            symlinks=True,
            ignore=shutil.ignore_patterns('__pycache__'),
        )
    for name in ('setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    no_network = ['--no-deps', '--no-index']
    subprocess.run(
        [*pip, 'wheel', *no_network, '--no-build-isolation', '-w', base]
        + [source],
        check=True,
    )
    (wheel,) = base.glob('*.whl')
    subprocess.run(
        [*pip, 'install', *no_network, '--target', target, wheel], check=True
    )
    return target


def test_the_wheel_holds_all_configs_and_tools(installed):
    package = installed / 'beit3_mm'
    for folder in ('configs', 'tools'):
        names = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob('*.*')
            if path.suffix in ('.py', '.sh')
        }
        packed = {
            str(path.relative_to(package / '.mim'))
            for path in (package / '.mim' / folder).rglob('*.*')
            if path.suffix in ('.py', '.sh')
        }
        assert names
        assert names == packed
    assert not (installed / 'tests').exists()


def test_a_config_of_15_lines_trains_outside_of_the_clone(installed, tmp_path):
    assert len(CONFIG.strip().splitlines()) == 15
    write_coco(tmp_path / 'data')
    (tmp_path / 'user.py').write_text(CONFIG)
    train = installed / 'beit3_mm/.mim/tools/train.py'
    done = subprocess.run(
        [sys.executable, train, 'user.py', '--work-dir', 'out']
        + ['--cfg-options', 'val_cfg=None', 'val_dataloader=None']
        + ['val_evaluator=None', 'optim_wrapper.type=mmengine.OptimWrapper']
        + ['train_dataloader.num_workers=0']
        + ['train_dataloader.persistent_workers=False']
        + ['model.train_cfg.rpn_proposal.max_per_img=16'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / 'out/iter_5.pth').is_file()
    assert 'checkpoint: ' in done.stdout
