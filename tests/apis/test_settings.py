# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from copy import deepcopy

import numpy as np
import pytest
import tiny_tasks
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS

from beit3_mm.apis.images import as_inputs
from beit3_mm.apis.settings import build_pipeline, dataset_meta, find_file
from beit3_mm.apis.tasks import FUSION_TASKS, TASKS


@pytest.fixture
def config(tokenizer_file, tmp_path):
    def get(kind):
        return tiny_tasks.config_of(kind, tokenizer_file, tmp_path)

    return get


def test_steps_that_need_files_are_left_out(config):
    pipeline = build_pipeline(config('segmentation'), image=True, text=False)
    names = [getattr(x, '__name__', type(x).__name__) for x in pipeline]
    assert names == ['take_pixels', 'Resize', 'PackSegInputs']


def test_images_alone_and_texts_alone(config, images):
    config = config('retrieval')
    (image,) = as_inputs(images[0])
    alone = build_pipeline(config, image=True, text=False)
    packed = alone({'img_path': image})
    assert list(packed['inputs']) == ['image']
    assert packed['data_samples'].img_path == str(images[0])
    text = build_pipeline(config, image=False, text=True)
    assert list(text({'text': 'above'})['inputs']) == ['text_ids']


def test_the_pipeline_is_that_of_the_file(config, images):
    config = config('nlvr2')
    pair = build_pipeline(config, image=True, text=True)(
        {'img_paths': list(as_inputs(images[:2])), 'text': 'above'}
    )
    expected = Compose(config.test_dataloader.dataset.pipeline)(
        {'img_paths': [str(x) for x in images[:2]], 'text': 'above'}
    )
    for key in ('image', 'text_ids'):
        assert np.array_equal(pair['inputs'][key], expected['inputs'][key])


def test_wrappers_of_data_sets_are_opened(config):
    config = config('caption')
    inner = config.test_dataloader.dataset
    config.test_dataloader.dataset = dict(type='Wrapper', dataset=inner)
    assert build_pipeline(config, image=True, text=False)


@pytest.mark.parametrize(
    ('steps', 'image', 'text', 'message'),
    [
        ([], True, False, r'no test_dataloader\.dataset\.pipeline'),
        ([tiny_tasks.PACK], True, False, 'no beit3_mm.LoadImageFromFile'),
        ([tiny_tasks.PACK], False, True, 'no beit3_mm.TokenizeText'),
    ],
)
def test_what_a_pipeline_lacks_is_told(config, steps, image, text, message):
    config = config('vqa')
    config.test_dataloader.dataset.pipeline = steps
    with pytest.raises(ValueError, match=message):
        build_pipeline(config, image, text)
    if not steps:
        config.pop('test_dataloader')
        with pytest.raises(ValueError, match=message):
            build_pipeline(config, image, text)


def test_class_names_come_from_config_checkpoint_or_data_set():
    dataset = dict(type='mmdet.CocoDataset', metainfo=dict(classes=['a']))
    config = Config(dict(test_dataloader=dict(dataset=dataset)))
    saved = dict(meta=dict(dataset_meta=dict(classes=('b',))))
    assert dataset_meta(config, saved) == dict(classes=['a'])
    without = deepcopy(config)
    del without.test_dataloader.dataset.metainfo
    assert dataset_meta(without, saved) == dict(classes=('b',))
    coco = dataset_meta(without, {})
    assert len(coco['classes']) == len(coco['palette']) == 80
    without.test_dataloader.dataset.type = 'CocoDataset'
    without.default_scope = 'mmdet'
    assert dataset_meta(without, {}) == coco
    assert dataset_meta(Config(dict()), {}) == {}


def test_files_of_a_config(tmp_path):
    (tmp_path / 'a.txt').touch()
    name = str(tmp_path / 'a.txt')
    config = Config(
        dict(
            first=[dict(type='A'), dict(type='B', inner=dict(answers=name))],
            second=dict(answers='gone.txt'),
        )
    )
    assert find_file(config, 'answers', 'first', 'second').name == 'a.txt'
    with pytest.raises(FileNotFoundError, match=r'gone\.txt, answers in sec'):
        find_file(config, 'answers', 'third', 'second')
    with pytest.raises(ValueError, match='no words in first or third'):
        find_file(config, 'words', 'first', 'third')


CONFIGS = sorted(
    path
    for folder in ('configs', 'projects')
    for path in (tiny_tasks.ROOT / folder).rglob('*.py')
    if not {'_base_', 'pretrain'} & set(path.parts)
    and (folder == 'configs' or 'configs' in path.parts)
)


def test_recipes_are_found():
    assert len(CONFIGS) >= 40


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_recipes_serve_for_inference(path):
    config = Config.fromfile(path)
    model = config.model
    kind = MODELS.get(model.type)
    names = {base.__name__ for base in kind.__mro__}
    head = model.get('head', {}).get('type', '').split('.')[-1]
    assert names & set(TASKS) or head in FUSION_TASKS
    if config.get('test_dataloader') is None:  # a stage before a task
        with pytest.raises(ValueError, match='of what is tested'):
            build_pipeline(config, image=True, text=False)
        return
    build_pipeline(config, image=True, text=False)
    if head in FUSION_TASKS or 'DualEncoder' in names:
        build_pipeline(config, image=True, text=True)
