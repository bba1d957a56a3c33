# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What becomes of COCO annotations that are not as they should be."""

import json
import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from beit3_mm.datasets import SampleError
from beit3_mm.datasets.coco import CocoDataset, Objects365V2Dataset

NAN, INF = float('nan'), float('inf')
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
RLE = dict(size=[60, 80], counts=[10, 20, 4770])


def annotation(**changes):
    """A good annotation with changes; a change to `...` removes the key."""
    good = dict(
        id=1,
        image_id=1,
        category_id=1,
        bbox=[10, 10, 20, 20],
        area=400,
        iscrowd=0,
        segmentation=SQUARE,
    )
    return {k: v for k, v in (good | changes).items() if v is not ...}


@pytest.fixture
def messages(monkeypatch):
    """Collects the warnings that are logged."""
    texts = []

    def handle(record):
        if record.levelno == logging.WARNING:
            texts.append(record.getMessage())

    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle', handle)
    return texts


@pytest.fixture
def build(tmp_path):
    """Writes an annotation file and opens it."""
    Image.new('RGB', (80, 60)).save(tmp_path / 'a.png')

    def build(*annotations, text=None, classes=('cat', 'dog'), **kwargs):
        changes = kwargs.pop('file', {})
        content = dict(
            images=[dict(id=1, file_name='a.png', height=60, width=80)],
            annotations=list(annotations),
            categories=[dict(id=1, name='cat'), dict(id=5, name='dog')],
        )
        content = {
            k: v for k, v in (content | changes).items() if v is not ...
        }
        if text is None:
            text = json.dumps(content)
        (tmp_path / 'ann.json').write_text(text)
        kwargs.setdefault('pipeline', pipeline(with_mask=True))
        return CocoDataset(
            ann_file='ann.json',
            data_root=str(tmp_path),
            data_prefix=kwargs.pop('data_prefix', dict(img='')),
            metainfo=dict(classes=classes),
            serialize_data=False,  # saves a slow gc.collect()
            **kwargs,
        )

    return build


def pipeline(with_mask, scale=160):
    return [
        dict(type='beit3_mm.LoadImageFromFile'),
        dict(
            type='mmdet.LoadAnnotations', with_bbox=True, with_mask=with_mask
        ),
        dict(type='mmdet.Resize', scale=(scale, scale), keep_ratio=True),
        dict(type='mmdet.PackDetInputs'),
    ]


def objects(dataset):
    """Labels of the objects, and how many are ignored."""
    sample = dataset[0]['data_samples']
    masks = sample.gt_instances.masks
    assert len(masks) == len(sample.gt_instances.labels)
    return sample.gt_instances.labels.tolist(), len(sample.ignored_instances)


def test_good_annotations(build, messages):
    dataset = build(annotation(), annotation(id=2, category_id=5))
    assert objects(dataset) == ([0, 1], 0)
    assert messages == []


@pytest.mark.parametrize(
    'text',
    ['', '{"images": [{"id": 1,', '[]', 'null', '{"images": 3}', '\x00'],
)
def test_broken_json_is_named(build, text):
    with pytest.raises(ValueError, match=r'ann.json is not a COCO'):
        build(text=text)


def test_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.json'):
        CocoDataset(ann_file=str(tmp_path / 'nowhere.json'))


def test_missing_folder_of_images_is_named(build):
    with pytest.raises(
        FileNotFoundError, match=r'ann\.json: there is no folder .*/nowhere of'
    ):
        build(annotation(), data_prefix=dict(img='nowhere'))


@pytest.mark.parametrize('key', ['images', 'categories'])
def test_file_without_a_key(build, key):
    with pytest.raises(ValueError, match=f'ann.json is not.*{key}'):
        build(annotation(), file={key: ...})


@pytest.mark.parametrize('key', ['file_name', 'height', 'width'])
def test_image_without_a_key(build, key):
    image = dict(id=1, file_name='a.png', height=60, width=80)
    del image[key]
    with pytest.raises(ValueError, match=f'ann.json: image.*no {key!r}'):
        build(file=dict(images=[image]))


@pytest.mark.parametrize(
    'box',
    [[10, 10, 0, 0], [10, 10, -5, 5], [100, 100, 5, 5], [-9, 0, 9, 5]],
    ids=['empty', 'negative', 'outside', 'left of the image'],
)
def test_boxes_without_area_in_the_image_are_left_out(build, box):
    dataset = build(annotation(bbox=box), annotation(id=2, category_id=5))
    assert objects(dataset) == ([1], 0)


@pytest.mark.parametrize(
    'changes, fault',
    [
        (dict(bbox=[NAN, 1, 2, 3]), 'bbox'),
        (dict(bbox=[1, 1, INF, 3]), 'bbox'),
        (dict(bbox=[1, 2, 3]), 'bbox'),
        (dict(bbox=['1', '2', '3', '4']), 'bbox'),
        (dict(bbox=None), 'bbox'),
        (dict(bbox=...), 'bbox'),
        (dict(area=...), 'area'),
        (dict(area=NAN), 'area'),
        (dict(segmentation=[[NAN, 1, 2, 3, 4, 5]]), 'segmentation'),
        (dict(segmentation=[1, 1, 2, 3, 4, 5]), 'segmentation'),
        (dict(segmentation='1, 2, 3'), 'segmentation'),
        (dict(segmentation=dict(RLE, size=[80, 60])), 'mask of size'),
        (dict(segmentation=dict(RLE, counts=[10, 20])), 'mask of 30 pixels'),
        (dict(segmentation=dict(RLE, counts='no')), 'mask of no pixels'),
        (dict(segmentation=dict(size=[60, 80])), 'mask of no pixels'),
    ],
)
def test_faulty_annotation_is_named(build, changes, fault):
    with pytest.raises(
        ValueError,
        match=rf'ann.json: 1 .*annotation 7 \(a.png\) has .*{fault}',
    ):
        build(annotation(), annotation(id=7, **changes))


def test_all_faulty_annotations_are_counted(build):
    faulty = [annotation(id=i, bbox=[]) for i in range(9)]
    with pytest.raises(ValueError, match='9 annotations cannot be used'):
        build(annotation(id=10), *faulty)


@pytest.mark.parametrize('file', [{}, dict(annotations=...)])
def test_no_annotation_at_all(build, file):
    assert objects(build(file=file)) == ([], 0)


def test_no_image_left(build):
    with pytest.raises(ValueError, match=r'ann.json: of 1 images none'):
        build(filter_cfg=dict(filter_empty_gt=True))
    with pytest.raises(ValueError, match=r'ann.json: of 0 images none'):
        build(file=dict(images=[]), test_mode=True)


def test_unknown_category_ids_are_left_out_and_counted(build, messages):
    dataset = build(
        annotation(),
        annotation(id=2, category_id=77),
        annotation(id=3, category_id=77),
    )
    assert objects(dataset) == ([0], 0)
    assert len(messages) == 1
    assert 'ann.json: left out 2 of 3' in messages[0]
    assert '[77]' in messages[0]


def test_annotations_of_unknown_images_are_counted(build, messages):
    dataset = build(annotation(), annotation(id=2, image_id=9))
    assert objects(dataset) == ([0], 0)
    assert len(messages) == 1
    assert 'left out 1 of 2 annotations, whose image_ids [9]' in messages[0]


def test_objects365_is_checked_too(tmp_path):
    (tmp_path / 'ann.json').write_text('{"images": []')
    with pytest.raises(ValueError, match=r'ann.json is not a COCO annotation'):
        Objects365V2Dataset(ann_file='ann.json', data_root=str(tmp_path))


def test_categories_that_are_not_asked_for_are_left_out(build, messages):
    dataset = build(
        annotation(), annotation(id=2, category_id=5), classes=('dog',)
    )
    assert objects(dataset) == ([0], 0)
    assert messages == []


def test_classes_must_be_those_of_the_file(build):
    with pytest.raises(ValueError, match=r"ann.json has no .*\['zebra'\]"):
        build(annotation(), classes=('zebra', 'cat'))
    with pytest.raises(ValueError, match=r"another order.*\['cat', 'dog'\]"):
        build(annotation(), classes=('dog', 'cat'))


@pytest.mark.parametrize('polygon', [[1, 1, 5, 5], [1, 1, 5, 5, 9, 5, 7], []])
def test_polygons_without_area_are_ignored(build, polygon):
    dataset = build(annotation(segmentation=[polygon]), annotation(id=2))
    assert objects(dataset) == ([0], 1)


@pytest.mark.parametrize('mask', [..., None, []])
def test_missing_masks_are_ignored_and_counted(build, messages, mask):
    anns = annotation(), annotation(id=2, category_id=5, segmentation=mask)
    assert objects(build(*anns)) == ([0], 1)
    assert any('1 of 2 annotations have no' in text for text in messages)
    boxes = build(*anns, pipeline=pipeline(with_mask=False))
    assert boxes[0]['data_samples'].gt_instances.labels.tolist() == [0, 1]


def test_box_only_file(build, messages):
    anns = annotation(segmentation=...), annotation(id=2, segmentation=...)
    boxes = build(*anns, pipeline=pipeline(with_mask=False))
    assert boxes[0]['data_samples'].gt_instances.labels.tolist() == [0, 0]
    assert messages == []
    with pytest.raises(ValueError, match=r'ann.json holds boxes alone.*False'):
        build(*anns)


def test_run_length_masks(build):
    dataset = build(
        annotation(segmentation=RLE),
        annotation(id=2, segmentation=RLE, iscrowd=1),
    )
    assert objects(dataset) == ([0], 1)
    masks = dataset[0]['data_samples'].gt_instances.masks
    assert masks.areas.tolist() == [80]  # 20 pixels, twice as wide and high


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('fault', ['missing', 'size', 'sliver'])
def test_failing_sample_is_named(build, tmp_path, fault, test_mode):
    """Whatever fails while a sample is prepared, its file is named."""
    image = dict(id=1, file_name='b.png', height=60, width=80)
    if fault == 'size':
        Image.new('RGB', (60, 80)).save(tmp_path / 'b.png')
    elif fault == 'sliver':  # its width vanishes in the resize
        image.update(height=1000, width=1)
        Image.fromarray(np.zeros((1000, 1), np.uint8)).save(tmp_path / 'b.png')
    dataset = build(
        annotation(bbox=[0, 0, 1, 30]),
        file=dict(images=[image]),
        test_mode=test_mode,
    )
    with pytest.raises(SampleError, match=r'b\.png'):
        dataset[0]
