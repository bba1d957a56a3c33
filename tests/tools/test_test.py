# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import argparse
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

TTA = """
tta_model = dict(
    type='mmdet.DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=3))
tta_pipeline = [
    load[0],
    dict(type='mmcv.TestTimeAug', transforms=[
        [dict(type='mmdet.Resize', scale=(s, s)) for s in (48, 64)],
        [dict(type='mmdet.RandomFlip', prob=p) for p in (0.0, 1.0)],
        [load[1]],
        [pack]])]
"""
BOXES_ONLY = {
    'model.roi_head.mask_head': None,
    'model.roi_head.mask_roi_extractor': None,
    'test_evaluator.metric': 'bbox',
}


@pytest.fixture
def checkpoint(write_config, tmp_path):
    """Writes the weights of an untrained detector, with changes."""

    def write(options=None, **changes):
        cfg = Config.fromfile(write_config())
        cfg.merge_from_dict(options or {})
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        state = {**model.state_dict(), **changes}
        torch.save({'state_dict': state}, tmp_path / 'x.pth')
        return tmp_path / 'x.pth'

    return write


def test_results_and_pictures(
    run_tool, write_config, checkpoint, tmp_path, capsys
):
    run_tool(
        *('test', write_config(), checkpoint()),
        *('--work-dir', tmp_path / 'w'),
        *('--out', tmp_path / 'r.json', '--show-dir', tmp_path / 'show'),
    )
    printed = capsys.readouterr().out
    assert 'coco/bbox_mAP' in printed
    for kind, key in (('bbox', 'bbox'), ('segm', 'segmentation')):
        path = tmp_path / f'r.{kind}.json'
        assert str(path) in printed
        results = json.loads(path.read_text())
        assert {result['image_id'] for result in results} == {0, 1, 2, 3}
        assert {'image_id', 'category_id', 'score', key} <= set(results[0])
    pictures = sorted((tmp_path / 'show').iterdir())
    assert [p.name for p in pictures] == [f'{i}.png' for i in range(4)]
    # Ground truth on the left, predictions on the right.
    assert Image.open(pictures[0]).size == (128, 64)


def test_augmentation_and_format_only(
    run_tool, write_config, checkpoint, tmp_path, capsys
):
    scores = []
    for args in ([], ['--tta']):
        run_tool(
            *('test', write_config(TTA), checkpoint(BOXES_ONLY), *args),
            *('--work-dir', tmp_path / 'w', '--format-only'),
            '--cfg-options',
            *(f'{key}={value}' for key, value in BOXES_ONLY.items()),
        )
        assert 'coco/bbox_mAP' not in capsys.readouterr().out
        results = json.loads((tmp_path / 'w/results.bbox.json').read_text())
        assert len(results) == 12
        scores.append([result['score'] for result in results])
    assert scores[0] != scores[1]


def test_unused_weights_are_listed(
    run_tool, write_config, checkpoint, tmp_path, capsys
):
    path = checkpoint(**{'teacher.weight': torch.zeros(1)})
    run_tool('test', write_config(), path, '--work-dir', tmp_path / 'w')
    assert (
        '1 not in the model, unused:\n  teacher.weight'
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({'a.weight': torch.ones(1)}, r'nothing in .*y\.pth fits MaskRCNN'),
        (
            {'neck.fpn_convs.0.conv.bias': torch.ones(16)},
            r'not a checkpoint of this model.*\n.*not in the checkpoint',
        ),
        ({'a': argparse.Namespace()}, 'insist with --trust-checkpoint'),
    ],
    ids=['nothing fits', 'another architecture', 'needs unpickling'],
)
def test_wrong_checkpoints_end_with_one_message(
    run_tool, write_config, tmp_path, state, message
):
    torch.save(state, tmp_path / 'y.pth')
    with pytest.raises(SystemExit, match=message) as end:
        run_tool(
            *('test', write_config(), tmp_path / 'y.pth'),
            *('--work-dir', tmp_path / 'w'),
        )
    assert end.value.code.startswith('error: ')
    assert 'Traceback' not in end.value.code


def test_insisting_on_a_checkpoint(
    run_tool, write_config, checkpoint, tmp_path, capsys
):
    path = checkpoint()
    state = torch.load(path)['state_dict']
    torch.save({'state_dict': state, 'args': argparse.Namespace()}, path)
    args = ('test', write_config(), path, '--work-dir', tmp_path / 'w')
    with pytest.raises(SystemExit, match='Namespace objects'):
        run_tool(*args)
    run_tool(*args, '--trust-checkpoint')
    assert 'coco/bbox_mAP' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('text', 'args', 'message'),
    [
        ('', ['gone.pth'], r'no checkpoint file gone\.pth'),
        ('', ['x.pth', '--tta'], 'the config has no tta_model'),
        ('', ['x.pth', '--out', 'r.pkl'], r'r\.pkl must end in \.json'),
        (
            "test_evaluator = dict(type='mmdet.VOCMetric')",
            ['x.pth', '--format-only'],
            r"one of \['CocoMetric'.*VOCMetric",
        ),
        (
            "default_hooks.pop('visualization')",
            ['x.pth', '--show-dir', 'show'],
            r'default_hooks\.visualization',
        ),
        (
            "test_dataloader['dataset']['ann_file'] = 'gone.json'",
            ['x.pth'],
            r'test_dataloader.*gone\.json',
        ),
    ],
)
def test_wrong_input_ends_with_one_message(
    run_tool, write_config, tmp_path, monkeypatch, text, args, message
):
    monkeypatch.chdir(tmp_path)
    torch.save({}, 'x.pth')
    with pytest.raises(SystemExit, match=message) as end:
        run_tool('test', write_config(text), *args)
    assert end.value.code.startswith('error: ')


def test_missing_image_is_named(
    run_tool, write_config, checkpoint, tmp_path, coco
):
    data = tmp_path / 'data'
    data.mkdir()
    (data / 'annotations.json').write_bytes(
        (coco / 'annotations.json').read_bytes()
    )
    with pytest.raises(SystemExit, match=r'data/images/0\.png'):
        run_tool(
            *('test', write_config(data=data), checkpoint()),
            *('--work-dir', tmp_path / 'w'),
        )
