# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Each format is read as the real data set is, by the class that reads it."""

import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

import beit3_mm  # noqa: F401  makes the hosts importable

sys.path.insert(0, str(Path(__file__).parents[2] / 'projects/shapes'))
import generate
import scenes

TRAIN, VAL, SIZE = 20, 16, 128


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes')
    options = ['--out', str(out), '--train', str(TRAIN), '--val', str(VAL)]
    assert generate.main(options) == 0
    return out


def load(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize('split', ['train', 'val'])
def test_coco_in_mmdet(data, split):
    from mmdet.datasets import CocoDataset

    dataset = CocoDataset(
        data_root=str(data / 'coco'),
        ann_file=f'annotations/instances_{split}2017.json',
        data_prefix=dict(img=f'{split}2017/'),
        metainfo=dict(classes=scenes.CLASSES),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type='mmdet.LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
        ],
    )
    assert len(dataset) == dict(train=TRAIN, val=VAL)[split]
    for i in range(len(dataset)):
        scene = scenes.make_scene(0, split, i, SIZE)
        sample = dataset[i]
        # JPEG changes little: it is the very image.
        error = sample['img'][..., ::-1].astype(int) - scene.image
        assert np.abs(error).mean() < 5
        labels = [obj.class_id for obj in scene.objects]
        assert sample['gt_bboxes_labels'].tolist() == labels
        assert not sample['gt_ignore_flags'].any()
        assert np.array_equal(sample['gt_masks'].masks, scene.masks)
        boxes = np.array([obj.box for obj in scene.objects])
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(sample['gt_bboxes'].numpy(), boxes)


def test_coco_ids_are_unique_over_the_splits(data):
    contents = [
        load(data / f'coco/annotations/instances_{split}2017.json')
        for split in ('train', 'val')
    ]
    for key in ('images', 'annotations'):
        ids = [item['id'] for content in contents for item in content[key]]
        assert len(set(ids)) == len(ids)
    for content in contents:
        assert content['info']['year']
        assert content['licenses']
        names = [c['name'] for c in content['categories']]
        assert names == list(scenes.CLASSES)
        for item in content['annotations']:
            assert item['iscrowd'] == 0


@pytest.mark.parametrize('folder', ['training', 'validation'])
def test_ade20k_in_mmseg(data, folder):
    from mmseg.datasets import ADE20KDataset

    dataset = ADE20KDataset(
        data_root=str(data / 'ade20k'),
        data_prefix=dict(
            img_path=f'images/{folder}', seg_map_path=f'annotations/{folder}'
        ),
        pipeline=[
            dict(type='mmseg.LoadImageFromFile'),
            dict(type='mmseg.LoadAnnotations', reduce_zero_label=True),
        ],
    )
    split = dict(training='train', validation='val')[folder]
    assert len(dataset) == dict(train=TRAIN, val=VAL)[split]
    for i in range(len(dataset)):
        sample = dataset[i]
        scene = scenes.make_scene(0, split, i, SIZE)
        expected = np.full((SIZE, SIZE), 255)  # ignored
        for obj, mask in zip(scene.objects, scene.masks):
            expected[mask] = obj.class_id
        assert np.array_equal(sample['gt_seg_map'], expected)
        assert sample['img'].shape == (SIZE, SIZE, 3)


def test_imagenet_in_mmpretrain(data):
    from mmpretrain.datasets import ImageNet

    for split, number in (('train', TRAIN), ('val', VAL)):
        dataset = ImageNet(
            data_root=str(data / 'imagenet'),
            split=split,
            metainfo=dict(classes=scenes.CLASSES),
            pipeline=[],
        )
        assert len(dataset) == number
        labels = Counter(dataset.get_gt_labels().tolist())
        expected = Counter(i % 12 for i in range(number))
        assert labels == expected
        for i in range(number):
            path = Path(dataset.get_data_info(i)['img_path'])
            index = int(path.stem.split('_')[-1]) - (split == 'val')
            class_id = int(dataset.get_gt_labels()[i])
            scene = scenes.make_scene(
                0, f'imagenet_{split}', index, SIZE, class_id
            )
            image = cv2.imread(str(path))[..., ::-1].astype(int)
            assert np.abs(image - scene.image).mean() < 5
    rows = (data / 'imagenet/LOC_synset_mapping.txt').read_text().split('\n')
    names = dict(row.split(' ', 1) for row in rows if row)
    assert [names[wnid] for wnid in sorted(names)] == list(scenes.CLASSES)
    assert set(names) == {p.name for p in data.glob('imagenet/train/*')}


def test_karpathy_file(data):
    content = load(data / 'coco/dataset_coco.json')
    assert content['dataset'] == 'coco'
    images = content['images']
    splits = Counter(image['split'] for image in images)
    assert splits == {'train': 18, 'restval': 2, 'val': 8, 'test': 8}
    sentences = [s for image in images for s in image['sentences']]
    assert [s['sentid'] for s in sentences] == list(range(len(sentences)))
    assert len({image['cocoid'] for image in images}) == len(images)
    for i, image in enumerate(images):
        assert image['imgid'] == i
        folder = 'train2014' if image['split'] == 'train' else 'val2014'
        assert image['filepath'] == folder
        name = f'COCO_{folder}_{image["cocoid"]:012d}.jpg'
        assert image['filename'] == name
        assert (data / 'coco' / folder / name).is_file()
        assert image['sentids'] == [s['sentid'] for s in image['sentences']]
        assert len(image['sentences']) == 5
        for sentence in image['sentences']:
            assert sentence['imgid'] == i
            assert sentence['raw'][0].isupper()
            words = sentence['raw'].lower().replace(',', '')[:-1].split()
            assert sentence['tokens'] == words


def test_restval_scenes_are_training_scenes(data):
    images = load(data / 'coco/dataset_coco.json')['images']
    trained = {
        image['cocoid']
        for image in images
        if image['split'] in ('train', 'restval')
    }
    content = load(data / 'coco/annotations/instances_train2017.json')
    assert trained == {image['id'] for image in content['images']}


@pytest.mark.parametrize('part', ['train2014', 'val2014'])
def test_vqav2_in_mmpretrain(data, part):
    from mmpretrain.datasets.coco_vqa import COCOVQA

    dataset = COCOVQA(
        data_root=str(data / 'coco'),
        data_prefix=part,
        question_file=f'vqa/v2_OpenEnded_mscoco_{part}_questions.json',
        ann_file=f'vqa/v2_mscoco_{part}_annotations.json',
        pipeline=[],
    )
    images = dict(train2014=18, val2014=VAL + 2)[part]
    assert 4 * images <= len(dataset) <= 6 * images
    seen = {dataset.get_data_info(i)['image_id'] for i in range(len(dataset))}
    assert len(seen) == images


def test_vqav2_annotations(data):
    ids = []
    for part in ('train2014', 'val2014'):
        content = load(data / f'coco/vqa/v2_mscoco_{part}_annotations.json')
        assert content['data_type'] == 'mscoco'
        assert content['data_subtype'] == part
        for item in content['annotations']:
            ids.append(item['question_id'])
            assert item['question_id'] // 1000 == item['image_id']
            assert item['answer_type'] in ('yes/no', 'number', 'other')
            answers = item['answers']
            assert [a['answer_id'] for a in answers] == list(range(1, 11))
            counts = Counter(a['answer'] for a in answers)
            assert counts[item['multiple_choice_answer']] >= 7
    assert len(set(ids)) == len(ids)


def test_vqav2_test_questions_have_no_answers(data):
    folder = data / 'coco/vqa'
    name = 'v2_OpenEnded_mscoco_{}_questions.json'
    full = load(folder / name.format('test2015'))['questions']
    dev = load(folder / name.format('test-dev2015'))['questions']
    assert 0 < len(dev) < len(full)
    assert {q['question_id'] for q in dev} < {q['question_id'] for q in full}
    assert not list(folder.glob('*test*annotations*'))
    for question in full:
        image = f'COCO_test2015_{question["image_id"]:012d}.jpg'
        assert (data / 'coco/test2015' / image).is_file()


def test_nlvr2_files(data):
    for split, prefix in (
        ('train', 'images/train/{directory}'),
        ('dev', 'dev'),
        ('test1', 'test1'),
    ):
        path = data / f'nlvr2/nlvr/nlvr2/data/{split}.json'
        examples = [json.loads(line) for line in path.open()]
        assert len(examples) == 32  # 2 sets x 4 pairs x 4 sentences
        ids = [example['identifier'] for example in examples]
        assert len(set(ids)) == len(ids)
        for example in examples:
            stem, number = example['identifier'].rsplit('-', 1)
            assert stem.split('-')[0] == split
            assert 0 <= int(number) < 4
            assert ('directory' in example) == (split == 'train')
            folder = data / 'nlvr2' / prefix.format(**example)
            for side in (0, 1):
                image = cv2.imread(str(folder / f'{stem}-img{side}.png'))
                assert image.shape == (SIZE, SIZE, 3)


def test_nlvr2_in_mmpretrain(data):
    from mmpretrain.datasets import NLVR2

    dataset = NLVR2(
        data_root=str(data / 'nlvr2'),
        ann_file='nlvr/nlvr2/data/dev.json',
        data_prefix='dev',
        pipeline=[],
    )
    assert len(dataset) == 32
    for path in dataset.get_data_info(0)['img_path']:
        assert Path(path).is_file()


def test_corpus_is_one_sentence_a_line(data):
    for split, number in (('train', TRAIN), ('val', VAL)):
        lines = (data / f'text/{split}.txt').read_text().splitlines()
        assert 9 * number <= len(lines) <= 11 * number
        assert all(line[0].isupper() and line[-1] == '.' for line in lines)
