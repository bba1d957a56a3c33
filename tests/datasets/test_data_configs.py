# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The data configs of the vision-language tasks, on data of each format."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmengine.registry import METRICS as METRIC_REGISTRY
from PIL import Image
from torch.utils.data import DataLoader

from beit3_mm.datasets import SampleIndex
from beit3_mm.evaluation.vqa_answers import (
    count_answers,
    list_answers,
)

FOLDER = Path(__file__).parents[2] / 'configs/_base_/datasets'
NAMES = [
    *('coco_retrieval', 'flickr30k_retrieval', 'coco_caption', 'nocaps'),
    *('vqav2', 'vqav2_vg', 'nlvr2', 'imagenet', 'imagenet21k'),
]
SIZES = dict(
    coco_retrieval=384,
    flickr30k_retrieval=384,
    coco_caption=480,
    nocaps=480,
    vqav2=480,
    vqav2_vg=480,
    nlvr2=224,
    imagenet=224,
    imagenet21k=224,
)
METRICS = dict(
    coco_retrieval='beit3_mm.RetrievalRecall',
    flickr30k_retrieval='beit3_mm.RetrievalRecall',
    coco_caption='beit3_mm.CaptionMetric',
    nocaps='beit3_mm.CaptionMetric',
    vqav2='beit3_mm.VQAScore',
    vqav2_vg='beit3_mm.VQAScore',
    nlvr2='beit3_mm.NLVR2Accuracy',
    imagenet='mmpretrain.Accuracy',
)
every_config = pytest.mark.parametrize('name', NAMES)


@pytest.fixture(scope='module')
def data(shapes, tokenizer_file, tmp_path_factory):
    """Folders as docs/data/ asks for them, in the place of `data/`."""
    root = tmp_path_factory.mktemp('data')
    for name in ('coco', 'nlvr2', 'imagenet'):
        (root / name).symlink_to(shapes / name)
    (root / 'imagenet21k').symlink_to(shapes / 'imagenet')
    (root / 'beit3.spm').symlink_to(tokenizer_file)
    path = root / 'coco/vqa/v2_mscoco_train2014_annotations.json'
    annotations = json.loads(path.read_text())['annotations']
    answers = list_answers(count_answers(annotations), 1)
    (path.parent / 'answers.txt').write_text('\n'.join(answers) + '\n')
    _write_flickr30k(root / 'flickr30k')
    _write_nocaps(root / 'nocaps')
    _write_visual_genome(root / 'visual_genome')
    return root


def _write(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_text(json.dumps(content))
    else:
        Image.fromarray(np.full((9, 12, 3), 90, np.uint8)).save(path)


def _write_flickr30k(root):
    images = [
        dict(
            imgid=i,
            filename=f'{i}.jpg',
            split=split,
            sentences=[dict(raw=f'the red circle {i}')] * 5,
        )
        for i, split in enumerate(['train', 'train', 'val', 'test'])
    ]
    _write(root / 'dataset_flickr30k.json', dict(images=images))
    for image in images:
        _write(root / 'flickr30k-images' / image['filename'])


def _write_nocaps(root):
    content = dict(
        images=[dict(id=7, file_name='0.jpg', domain='in-domain')],
        annotations=[dict(image_id=7, caption='a red circle', id=0)],
    )
    _write(root / 'nocaps_val_4500_captions.json', content)
    _write(root / 'val/0.jpg')


def _write_visual_genome(root):
    url = 'https://cs.stanford.edu/people/rak248/VG_100K/3.jpg'
    image = dict(image_id=3, url=url, coco_id=None)
    question = dict(image_id=3, qa_id=9, question='How many?', answer='Two.')
    _write(root / 'image_data.json', [image])
    _write(root / 'question_answers.json', [dict(id=3, qas=[question])])
    _write(root / 'VG_100K/3.jpg')


@pytest.fixture
def load(data):
    """Loads a data config, with its files below `data`."""

    def load(name):
        config = Config.fromfile(FOLDER / f'{name}.py')
        text = config.pretty_text.replace("'data/", f"'{data}/")
        # the generated sets have fewer images than are held out
        text = text.replace('num_held_out=1000', 'num_held_out=3')
        # nor twelve classes where there should be a thousand
        text = text.replace(
            "type='mmpretrain.ImageNet'",
            "type='mmpretrain.ImageNet', classes=list('abcdefghijkl')",
        )
        return Config.fromstring(text, '.py')

    return load


def build(dataset):
    with DefaultScope.overwrite_default_scope('mmengine'):
        return DATASETS.build(dataset)


def test_every_data_config_is_here():
    ours = {path.stem for path in FOLDER.glob('*.py')}
    dense = {'ade20k', 'coco_instance_lsj', 'coco_stuff164k', 'objects365v2'}
    others = dense | {'vl_pipelines', 'pretraining'}
    assert ours - others == set(NAMES)


@every_config
def test_what_final_configs_rely_on(name):
    config = Config.fromfile(FOLDER / f'{name}.py')
    assert config.image_size == (SIZES[name],) * 2
    assert config.data_root.startswith('data/')
    for key in ('train_pipeline', 'test_pipeline'):
        assert isinstance(config[key], list)
    if not name.startswith('imagenet'):
        assert config.tokenizer_file == 'data/beit3.spm'
    assert config.train_dataloader.dataset.type == 'beit3_mm.SeededDataset'
    assert config.train_dataloader.sampler.type == 'beit3_mm.EpochSampler'
    for stage in ('train', 'val', 'test'):
        loader = config[f'{stage}_dataloader']
        assert loader is None or 'batch_size' not in loader
    if name in METRICS:
        for stage in ('val', 'test'):
            assert config[f'{stage}_evaluator'].type == METRICS[name]
            dataset = config[f'{stage}_dataloader'].dataset
            assert dataset.test_mode
            assert dataset.pipeline == config.test_pipeline


@every_config
def test_samples_of_every_stage(name, load):
    config = load(name)
    for stage in ('train', 'val', 'test'):
        loader = config[f'{stage}_dataloader']
        if loader is None:
            continue
        dataset = build(loader.dataset)
        index = len(dataset) - 1
        if stage == 'train':
            index = SampleIndex(index, seed=0, epoch=0)
        sample = dataset[index]
        inputs = sample['inputs']
        if name == 'imagenet':
            inputs = dict(image=inputs)
        image = inputs['image']
        assert image.dtype == torch.uint8
        pair = (2,) if name == 'nlvr2' else ()
        assert image.shape == (*pair, 3, SIZES[name], SIZES[name])


@pytest.mark.parametrize('name', METRICS)
def test_metrics_build(name, load):
    config = load(name)
    for stage in ('val', 'test'):
        with DefaultScope.overwrite_default_scope('mmengine'):
            metric = METRIC_REGISTRY.build(config[f'{stage}_evaluator'])
        assert type(metric).__name__ == METRICS[name].split('.')[1]


def first(config, stage):
    dataset = build(config[f'{stage}_dataloader'].dataset)
    sample = dataset[SampleIndex(0, seed=0, epoch=0)]
    return sample['inputs'], sample['data_samples']


def test_what_retrieval_gets(load):
    for name in ('coco_retrieval', 'flickr30k_retrieval'):
        config = load(name)
        inputs, _ = first(config, 'train')
        assert inputs['text_ids'].ndim == 1
        inputs, sample = first(config, 'test')
        assert len(inputs['text_ids']) == sample.num_texts > 1
    assert config.train_dataloader.drop_last


def test_what_captioning_gets(load):
    inputs, _ = first(load('coco_caption'), 'train')
    assert set(inputs) == {'image', 'text_ids', 'target_ids', 'text_mask'}
    assert inputs['text_mask'].any()
    for name in ('coco_caption', 'nocaps'):
        inputs, sample = first(load(name), 'test')
        assert set(inputs) == {'image'}
        assert sample.captions and sample.image_id is not None
    assert sample.domain == 'in-domain'


def test_what_vqa_gets(load):
    config = load('vqav2')
    _, sample = first(config, 'train')
    assert len(sample.gt_labels) == len(sample.gt_scores) > 0
    assert 'answers' not in sample
    _, sample = first(config, 'val')
    assert len(sample.answers) == 10
    assert sample.answer_type
    _, sample = first(config, 'test')
    assert sample.question_id and 'answers' not in sample
    train, val = (
        build(config[f'{stage}_dataloader'].dataset)
        for stage in ('train', 'val')
    )
    images = [
        {data.get_data_info(i)['image_id'] for i in range(len(data))}
        for data in (train, val)
    ]
    assert len(images[1]) == 3
    assert not images[0] & images[1]
    joint = build(load('vqav2_vg').train_dataloader.dataset)
    assert len(joint) == len(train) + 1
    assert joint.get_data_info(len(train))['text'] == 'How many?'


def test_what_nlvr2_gets(load):
    for stage in ('train', 'val', 'test'):
        _, sample = first(load('nlvr2'), stage)
        assert sample.gt_label in (0, 1)
        assert sample.identifier.count('-') == 3


def test_what_classification_gets(load):
    for stage in ('train', 'val'):
        _, sample = first(load('imagenet'), stage)
        assert sample.gt_label.shape == (1,)  # mmpretrain's
    inputs, sample = first(load('imagenet21k'), 'train')
    assert set(inputs) == {'image'}
    assert sample.gt_label.shape == (1,)


@pytest.mark.parametrize('name', ['coco_caption', 'nlvr2', 'imagenet'])
def test_no_sample_depends_on_the_workers(name, load):
    dataset = build(load(name).train_dataloader.dataset)
    indices = [SampleIndex(i, seed=3, epoch=1) for i in (4, 0, 2, 1)]
    batches = []
    for num_workers in (0, 2):
        loader = DataLoader(
            dataset,
            batch_size=1 + num_workers // 2,
            sampler=indices,
            num_workers=num_workers,
            collate_fn=pseudo_collate,
        )
        batches.append([])
        for batch in loader:
            inputs = batch['inputs']
            if name == 'imagenet':
                inputs = dict(image=inputs)
            for i in range(len(inputs['image'])):
                batches[-1].append({k: v[i] for k, v in inputs.items()})
    for alone, shared in zip(*batches, strict=True):
        assert alone.keys() == shared.keys()
        assert all(torch.equal(alone[key], shared[key]) for key in alone)
