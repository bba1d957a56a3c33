# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest
from dataset_reading import infos, messages
from mmengine.registry import DATASETS

from beit3_mm.datasets import KarpathyDataset


def image(name, split, captions=('a cat',), **ids):
    return dict(
        filename=name,
        split=split,
        sentences=[dict(raw=text, tokens=text.split()) for text in captions],
        **ids,
    )


@pytest.fixture
def build(tmp_path, write_json):
    """Builds a data set of a list of images, below one folder."""
    (tmp_path / 'images').mkdir()

    def build(images, **kwargs):
        content = images if isinstance(images, str) else dict(images=images)
        return KarpathyDataset(
            data_root=str(tmp_path),
            ann_file=write_json('dataset.json', content),
            data_prefix=dict(img_path='images'),
            **kwargs,
        )

    return build


@pytest.fixture
def coco():
    return [
        image('a.jpg', 'train', ['a cat', 'cats'], cocoid=7, imgid=0),
        image('b.jpg', 'restval', ['a dog'], cocoid=5, imgid=1),
        image('c.jpg', 'test', ['one', 'two', 'three'], cocoid=9, imgid=2),
    ]


def test_training_has_a_sample_for_each_sentence(build, coco, tmp_path):
    dataset = build(coco, split=['train', 'restval'])
    folder = f'{tmp_path}/images'
    assert infos(dataset) == [
        dict(img_path=f'{folder}/a.jpg', image_id=7, text='a cat'),
        dict(img_path=f'{folder}/a.jpg', image_id=7, text='cats'),
        dict(img_path=f'{folder}/b.jpg', image_id=5, text='a dog'),
    ]
    assert len(build(coco)) == 2  # 'train' alone


@pytest.mark.parametrize(
    'task, field', [('retrieval', 'text'), ('caption', 'captions')]
)
def test_evaluation_has_a_sample_for_each_image(build, coco, task, field):
    (sample,) = infos(build(coco, split='test', task=task, test_mode=True))
    assert sample.pop('img_path').endswith('images/c.jpg')
    assert sample == {'image_id': 9, field: ['one', 'two', 'three']}


def test_flickr30k_has_no_folders_and_other_ids(build, tmp_path):
    dataset = build([image('1.jpg', 'val', imgid=3)], split='val')
    (sample,) = infos(dataset)
    assert sample['img_path'] == f'{tmp_path}/images/1.jpg'
    assert sample['image_id'] == 3


@pytest.mark.parametrize('splits', [['train', 'restval'], ['val'], ['test']])
def test_generated_scenes(shapes, splits):
    root = shapes / 'coco'
    content = json.loads((root / 'dataset_coco.json').read_text())
    images = [x for x in content['images'] if x['split'] in splits]
    config = dict(
        type='beit3_mm.KarpathyDataset',
        data_root=str(root),
        ann_file='dataset_coco.json',
        split=splits,
    )
    training = infos(DATASETS.build(config))
    expected = [
        (x['cocoid'], s['raw']) for x in images for s in x['sentences']
    ]
    assert [(x['image_id'], x['text']) for x in training] == expected
    config |= dict(test_mode=True, task='caption')
    evaluation = infos(DATASETS.build(config))
    assert [x['image_id'] for x in evaluation] == [x['cocoid'] for x in images]
    for sample in (*training, *evaluation):
        name = sample['img_path'].removeprefix(f'{root}/')
        assert (root / name).is_file()


def test_empty_sentences_are_left_out_of_training_only(build, log):
    images = [image('a.jpg', 'train', ['a cat', ' \n', ''], cocoid=1)]
    assert [x['text'] for x in infos(build(images))] == ['a cat']
    (text,) = messages(log, level=30)
    assert 'dataset.json: left out 2 of 3 samples, whose text is em' in text
    assert 'images/a.jpg' in text
    (sample,) = infos(build(images, test_mode=True))
    assert sample['text'] == ['a cat', ' \n', '']


def test_another_file_is_refused(build, coco):
    with pytest.raises(ValueError, match="json: there is no 'images'; it has"):
        build('{"annotations": []}')
    with pytest.raises(ValueError, match=r"images\[0\]: there is no 'split'"):
        build([dict(id=1, file_name='a.jpg')])  # COCO's captions_*.json
    with pytest.raises(ValueError, match=r"images\[0\]: there is no 'cocoid'"):
        build([image('a.jpg', 'train')])
    with pytest.raises(ValueError, match=r"\['val'\]; it has {'train': 1"):
        build(coco, split=['train', 'val'])
    with pytest.raises(ValueError, match=r"'raw' must be str, not None"):
        build(
            [dict(image('a.jpg', 'train', imgid=1), sentences=[{'raw': None}])]
        )
    with pytest.raises(ValueError, match=r"\[0\]: 'filepath' must be str, no"):
        build([dict(image('a.jpg', 'train', imgid=1), filepath=3)])


def test_an_image_that_is_listed_twice(build, coco):
    with pytest.raises(
        ValueError, match=r'images\[3\]: cocoid 7 stands at .*0'
    ):
        build([*coco, image('d.jpg', 'train', cocoid=7)])


def test_evaluation_needs_sentences(build):
    images = [image('a.jpg', 'test', [], cocoid=1)]
    with pytest.raises(ValueError, match=r'images\[0\]: a\.jpg has no sent'):
        build(images, split='test', test_mode=True)
    with pytest.raises(ValueError, match=r'dataset\.json: there is no sample'):
        build(images, split='test')


def test_arguments_are_checked(build, coco):
    with pytest.raises(ValueError, match="task='vqa' must be one of"):
        build(coco, task='vqa')
    with pytest.raises(TypeError, match='unexpected keyword'):
        build(coco, captions=5)


def test_a_missing_folder_is_named(tmp_path, coco, write_json):
    coco[1]['filepath'] = 'val2014'
    name = write_json('dataset_coco.json', dict(images=coco))
    with pytest.raises(
        FileNotFoundError, match=r'coco\.json has images in .*'
    ):
        KarpathyDataset(
            data_root=str(tmp_path), ann_file=name, split='restval'
        )
