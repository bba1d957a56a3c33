# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The hosts' metrics of our configs: five images on two processes."""

import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import METRICS
from pycocotools import mask as mask_tools
from two_processes import run_in_two_processes

CONFIGS = Path(__file__).parents[2] / 'configs'
SIZE = 5
CLASSES = ('cat', 'dog', 'tree')
SIDE = 40


def boxes(i):
    """Returns two boxes of an image, x1, y1, x2, y2."""
    return torch.tensor(
        [[2.0, 2, 14 + 2 * i, 20], [18, 15 - i, 38, 30 + 2 * i]]
    )


def write_annotations(path):
    annotations = []
    for i in range(SIZE):
        for label, box in enumerate(boxes(i).tolist()):
            left, top, right, bottom = box
            size = [right - left, bottom - top]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=10 * i,
                    category_id=1 + label + i % 2,
                    bbox=[left, top, *size],
                    area=size[0] * size[1],
                    iscrowd=0,
                    segmentation=[
                        [left, top, right, top, right, bottom, left, bottom]
                    ],
                )
            )
    images = [
        dict(id=10 * i, file_name=f'{i}.jpg', width=SIDE, height=SIDE)
        for i in range(SIZE)
    ]
    categories = [dict(id=i, name=x) for i, x in enumerate(CLASSES, 1)]
    content = dict(
        images=images, annotations=annotations, categories=categories
    )
    path.write_text(json.dumps(content))


def detected(i):
    """Returns what a detector would say of an image: nearly right boxes."""
    shift = torch.randn(2, 4, generator=torch.Generator().manual_seed(i))
    found = (boxes(i) + 2 * shift).clamp(0, SIDE)
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, found.int()):
        mask[top:bottom, left:right] = True
    return dict(
        img_id=10 * i,
        ori_shape=(SIDE, SIDE),
        pred_instances=dict(
            bboxes=found,
            scores=torch.tensor([0.9 - 0.1 * i, 0.3 + 0.1 * i]),
            labels=torch.arange(2) + i % 2,
            masks=[
                mask_tools.encode(mask.numpy().astype('uint8', order='F'))
                for mask in masks
            ],
        ),
    )


def segmented(i):
    """Returns a label map of each image of its own size, and the truth."""
    generator = torch.Generator().manual_seed(i)
    shape = (1, SIDE, SIDE + 8 * i)
    truth = torch.randint(len(CLASSES), shape, generator=generator)
    wrong = torch.rand(shape, generator=generator) < 0.1 + 0.1 * i
    predicted = torch.where(wrong, (truth + 1) % len(CLASSES), truth)
    truth[0, 0] = 255  # not labelled
    return dict(
        img_path=f'{i}.jpg',
        pred_sem_seg=dict(data=predicted),
        gt_sem_seg=dict(data=truth),
    )


def classified(i):
    """Returns the scores of six classes, and the truth."""
    scores = torch.rand(6, generator=torch.Generator().manual_seed(i))
    label = scores.argsort()[[-1, 0, -3, -1, 0][i]]
    return dict(pred_score=scores, gt_label=label[None])


def configured(config, **options):
    """Returns the metric of a config."""
    evaluator = Config.fromfile(CONFIGS / config).test_evaluator
    metric = METRICS.build(dict(evaluator, **options))
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def evaluate(folder, indices):
    """Evaluates images, two at a time."""
    annotations = str(folder / 'annotations.json')
    coco = configured('det/beit3_cascade_coco.py', ann_file=annotations)
    miou = configured('seg/beit3_mask2former_ade20k.py')
    accuracy = configured('classification/beit3_linear_imagenet1k.py')
    figures = {}
    for metric, sample in (
        (coco, detected),
        (miou, segmented),
        (accuracy, classified),
    ):
        for start in range(0, len(indices), 2):
            batch = indices[start : start + 2]
            metric.process({}, [sample(i) for i in batch])
        figures |= metric.evaluate(SIZE)
    return {name: float(value) for name, value in figures.items()}


def work(folder):
    os.chdir(folder)  # mmengine collects in a folder below
    indices = list(DefaultSampler(range(SIZE), shuffle=False))
    assert indices == [[0, 2, 4], [1, 3, 0]][dist.get_rank()]
    return evaluate(folder, indices)


@pytest.fixture
def folder(tmp_path):
    write_annotations(tmp_path / 'annotations.json')
    return tmp_path


def test_figures_are_those_of_one_process(folder):
    both = run_in_two_processes(work, folder, folder)
    expected = evaluate(folder, list(range(SIZE)))
    assert both == [expected, expected]
    # Counted twice, the first image would change each of them.
    twice = configured('seg/beit3_mask2former_ade20k.py')
    twice.process({}, [segmented(i) for i in (*range(SIZE), 0)])
    assert twice.evaluate(SIZE + 1)['mIoU'] != expected['mIoU']
    for name in ('coco/bbox_mAP', 'coco/segm_mAP'):
        assert 0 < expected[name] < 1
    assert 0 < expected['mIoU'] < 100
    assert expected['accuracy/top1'] == 40
    assert expected['accuracy/top5'] == 60
