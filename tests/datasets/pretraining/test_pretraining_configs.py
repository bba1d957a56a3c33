# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The data configs of pretraining, on generated corpora of each format."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner

from beit3_mm.tokenizer import EOS_ID

ROOT = Path(__file__).parents[3]
COMMON = ROOT / 'configs/_base_/datasets/pretraining.py'
SHAPES = ROOT / 'projects/shapes/configs/_base_/pretraining.py'


@pytest.fixture(scope='module')
def corpora(shapes, tokenizer_file, tmp_path_factory):
    """Folders as docs/data/pretraining.md asks for them."""
    root = tmp_path_factory.mktemp('corpora')
    (root / 'imagenet21k').symlink_to(shapes / 'imagenet')
    (root / 'coco').symlink_to(shapes / 'coco')
    (root / 'beit3.spm').symlink_to(tokenizer_file)
    for name in 'wikipedia', 'bookcorpus', 'openwebtext', 'cc_news', 'stories':
        folder = root / 'text' / name
        folder.mkdir(parents=True)
        (folder / '0.txt').write_text('the red circle is above\n' * 40)
    images = sorted((shapes / 'coco').glob('train2014/*.jpg'))
    lines = [f'{path}\tthe red circle\n' for path in images[:6]]
    (root / 'visual_genome').mkdir()
    (root / 'visual_genome/pairs.tsv').write_text(''.join(lines))
    return root


def load(path, data):
    text = Config.fromfile(path).pretty_text
    return Config.fromstring(text.replace("'data/", f"'{data}/"), '.py')


def batch(loader, batch_size=6):
    with DefaultScope.overwrite_default_scope('mmengine'):
        loader = dict(loader, batch_size=batch_size, num_workers=0)
        loader.pop('persistent_workers', None)
        built = Runner.build_dataloader(loader, seed=0)
        return next(iter(built))


@pytest.mark.parametrize('patch_size, view', [(16, 224), (14, 256)])
def test_a_batch_of_the_three_kinds(corpora, patch_size, view):
    config = load(COMMON, corpora)
    if patch_size == 14:
        delta = dict(dataset=dict(dataset=dict(datasets=config.datasets_p14)))
        config.merge_from_dict(dict(train_dataloader=delta))
    inputs = batch(config.train_dataloader)['inputs']
    assert [*inputs] == ['image', 'text', 'pair']
    number = (224 // patch_size) ** 2
    for kind in ('image', 'pair'):
        assert len(inputs[kind]) == 2
        for sample in inputs[kind]:
            assert sample['image'].shape == (3, 224, 224)
            assert sample['tokenizer_image'].shape == (3, view, view)
            assert sample['image_mask'].shape == (number,)
            assert sample['image_mask'].sum() == round(0.4 * number)
    for sample in inputs['text']:
        assert len(sample['text_ids']) <= 512
        words = int((sample['target_ids'] > EOS_ID).sum())
        assert sample['text_mask'].sum() == int(0.15 * words + 0.5)
    for sample in inputs['pair']:
        words = len(sample['text_ids']) - 2
        assert sample['text_mask'].sum() == int(0.5 * words + 0.5)


def test_the_scenes_in_their_place(shapes, tokenizer_file):
    (shapes / 'text').mkdir(exist_ok=True)
    (shapes / 'text/train.txt').write_text('the red circle\n' * 99)
    (shapes / 'coco/train2017').mkdir(exist_ok=True)
    for path in (shapes / 'coco/train2014').glob('*.jpg'):
        link = shapes / 'coco/train2017' / path.name
        link.symlink_to(path)
    text = Config.fromfile(SHAPES).pretty_text
    text = text.replace('work_dirs/shapes/data', str(shapes))
    text = text.replace('work_dirs/shapes/shapes.spm', str(tokenizer_file))
    corpora = Config.fromstring(text, '.py').shapes_corpora
    loader = Config.fromfile(COMMON).train_dataloader
    loader.dataset.dataset.datasets = corpora
    inputs = batch(loader)['inputs']
    for kind in ('image', 'pair'):
        assert inputs[kind][0]['image'].shape == (3, 140, 140)
        assert inputs[kind][0]['tokenizer_image'].shape == (3, 160, 160)
        assert inputs[kind][0]['image_mask'].sum() == 40
    assert len(inputs['text'][0]['text_ids']) == 64


def test_scenes_with_captions_stay_as_they_are(shapes, tokenizer_file):
    """Captions say where things are, and their colours."""
    text = Config.fromfile(SHAPES).pretty_text
    text = text.replace('work_dirs/shapes/data', str(shapes))
    text = text.replace('work_dirs/shapes/shapes.spm', str(tokenizer_file))
    config = Config.fromstring(text, '.py').shapes_corpora.pair
    with DefaultScope.overwrite_default_scope('mmengine'):
        dataset = DATASETS.build(config)
    first, second = (dataset[0]['inputs'] for _ in range(2))
    assert torch.equal(first['image'], second['image'])
    assert torch.equal(first['tokenizer_image'], second['tokenizer_image'])
