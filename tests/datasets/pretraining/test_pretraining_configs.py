# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The data configs of pretraining, on generated corpora of each format."""

import re
import tarfile
import textwrap
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
    for name in 'cc12m', 'cc3m', 'sbu':
        (root / name).mkdir()
        with tarfile.open(root / name / '00000.tar', 'w') as tar:
            tar.add(images[0], '000.jpg')
            tar.add(root / 'text/stories/0.txt', '000.txt')
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
        assert inputs[kind]['image'].shape == (2, 3, 224, 224)
        views = inputs[kind]['tokenizer_image']
        assert views.shape == (2, 3, view, view)
        masks = inputs[kind]['image_mask']
        assert masks.shape == (2, number)
        assert masks.sum(1).tolist() == [round(0.4 * number)] * 2
    for kind, longest, share in (('text', 512, 0.15), ('pair', 64, 0.5)):
        texts = zip(inputs[kind]['target_ids'], inputs[kind]['text_mask'])
        for ids, mask in texts:
            assert len(ids) <= longest
            words = int((ids > EOS_ID).sum())
            assert mask.sum() == int(share * words + 0.5)


def documented(page, folder):
    """Returns the config that a page of docs/ shows."""
    text = (ROOT / 'docs' / page).read_text()
    (block,) = re.findall(r'(    _base_ = .*?)\n\n\S', text, re.DOTALL)
    code = textwrap.dedent(block).replace("'configs", f"'{ROOT}/configs")
    (folder / 'documented.py').write_text(code)
    return Config.fromfile(folder / 'documented.py')


def test_the_documented_way_to_other_data(tmp_path):
    config = documented('data/pretraining.md', tmp_path)
    found = config.train_dataloader.dataset.dataset.datasets
    assert found.image.data_root == 'data/photos/'
    assert found.image.pipeline == config.image_pipeline
    assert found.text.files == ['wikipedia/*.txt']
    assert found.text.pipeline == config.text_pipeline
    (pair,) = found.pair
    assert pair.ann_file == 'pairs.tsv'
    assert pair.pipeline == config.pair_pipeline


def test_the_documented_way_to_tokens_found_before(tmp_path):
    config = documented('visual_tokenizer.md', tmp_path)
    assert config.model.visual_tokenizer is None
    found = config.train_dataloader.dataset.dataset.datasets
    (pair,) = found.pair
    assert pair.type == 'beit3_mm.KarpathyDataset'
    for dataset, folder in ((found.image, 'tokens'), (pair, 'coco_tokens')):
        load, tokens, views, mask, *_, pack = dataset.pipeline
        assert load.type == 'beit3_mm.LoadImageFromFile'
        assert tokens.folder == f'data/{folder}'
        assert views.crop_ratio_range == (1, 1)
        assert views.tokenizer_img_size is None
        assert mask.type == 'beit3_mm.BlockMask'
        assert pack.type == 'beit3_mm.PackMultimodalInputs'


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
        assert inputs[kind]['image'].shape == (2, 3, 140, 140)
        assert inputs[kind]['tokenizer_image'].shape == (2, 3, 160, 160)
        assert inputs[kind]['image_mask'].sum(1).tolist() == [40, 40]
    assert len(inputs['text']['text_ids'][0]) == 64


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
