# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A config and a checkpoint of a tiny random model for each task."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

ROOT = Path(__file__).parents[1]
NUM_WORDS = 40  # ids of the tests' tokenizer and spare ones
ARCH = dict(
    img_size=32,
    patch_size=8,
    embed_dims=24,
    num_layers=2,
    num_heads=3,
    feedforward_channels=48,
)
ENCODER = dict(ARCH, vocab_size=NUM_WORDS, max_text_positions=34)
NORMALISE = dict(
    type='beit3_mm.MultimodalDataPreprocessor', mean=[127.5] * 3, std=[90] * 3
)
LOAD = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(
        type='mmcv.Resize',
        scale=(32, 32),
        interpolation='bicubic',
        backend='pillow',
    ),
]
PACK = dict(type='beit3_mm.PackMultimodalInputs')
ANSWERS = ('red', 'two', 'left of', 'yes', 'no', 'circle')
NAMES = ('red circle', 'blue square', 'green triangle')


def multimodal(kind, head, backbone=ENCODER, **options):
    return dict(
        type=f'beit3_mm.{kind}',
        backbone=backbone,
        head=dict(head, embed_dims=24),
        data_preprocessor=NORMALISE,
        **options,
    )


def vqa(tokenizer_file, folder):
    answers = folder / 'answers.txt'
    answers.write_text('\n'.join(ANSWERS))
    head = dict(type='beit3_mm.VQAHead', num_answers=len(ANSWERS))
    return dict(
        model=multimodal(
            'FusionEncoder', head, dict(ENCODER, final_norm=False)
        ),
        pipeline=[*LOAD, tokenize(tokenizer_file), PACK],
        test_evaluator=dict(
            type='beit3_mm.VQAScore', answer_file=str(answers)
        ),
    )


def nlvr2(tokenizer_file, folder):
    return dict(
        model=multimodal('FusionEncoder', dict(type='beit3_mm.NLVR2Head')),
        pipeline=[
            dict(type='beit3_mm.TransformImages', transforms=LOAD),
            tokenize(tokenizer_file),
            PACK,
        ],
    )


def retrieval(tokenizer_file, folder):
    return dict(
        model=multimodal('DualEncoder', dict(type='beit3_mm.ContrastiveHead')),
        pipeline=[*LOAD, tokenize(tokenizer_file), PACK],
    )


def caption(tokenizer_file, folder):
    head = dict(type='beit3_mm.CaptionHead', vocab_size=NUM_WORDS)
    return dict(
        model=multimodal(
            'ImageToText', head, beam_search=dict(mask_id=37, max_tokens=8)
        ),
        pipeline=[*LOAD, PACK],
        test_evaluator=dict(
            type='beit3_mm.CaptionMetric', model_file=str(tokenizer_file)
        ),
    )


def names(tokenizer_file, folder):
    return dict(
        model=multimodal(
            'ClassNameClassifier',
            dict(type='beit3_mm.ContrastiveHead'),
            class_names=list(NAMES),
            model_file=str(tokenizer_file),
        ),
        pipeline=[*LOAD, PACK],
    )


def linear(tokenizer_file, folder):
    return dict(
        model=dict(
            type='mmpretrain.ImageClassifier',
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor',
                mean=[127.5] * 3,
                std=[90] * 3,
                to_rgb=True,
            ),
            backbone=dict(
                type='beit3_mm.BEiT3ViT', **ARCH, with_cls_token=True
            ),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='beit3_mm.ClassificationHead',
                embed_dims=24,
                num_classes=len(NAMES),
            ),
        ),
        pipeline=[*LOAD, dict(type='mmpretrain.PackInputs')],
        metainfo=dict(classes=NAMES),
    )


def segmentation(tokenizer_file, folder):
    return dict(
        model=dict(
            type='mmseg.EncoderDecoder',
            _scope_='mmseg',
            data_preprocessor=dict(
                type='mmseg.SegDataPreProcessor',
                mean=[127.5] * 3,
                std=[90] * 3,
                bgr_to_rgb=True,
                test_cfg=dict(size_divisor=8),
            ),
            backbone=dict(type='beit3_mm.BEiT3ViT', **ARCH),
            decode_head=dict(
                type='mmseg.FCNHead',
                in_channels=24,
                channels=8,
                in_index=-1,
                num_classes=len(NAMES),
                norm_cfg=dict(type='BN'),
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        ),
        pipeline=[
            LOAD[0],
            dict(type='mmseg.Resize', scale=(64, 32), keep_ratio=True),
            dict(type='beit3_mm.LoadSemanticMask', num_classes=3),
            dict(type='mmseg.PackSegInputs'),
        ],
        metainfo=dict(
            classes=NAMES,
            palette=[[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        ),
    )


def detection(tokenizer_file, folder):
    base = Config.fromfile(ROOT / 'configs/det/beit3_cascade_coco.py')
    channels = 16
    narrow = dict(in_channels=channels, conv_out_channels=channels)
    heads = [
        dict(head, **narrow, fc_out_channels=16, num_classes=len(NAMES))
        for head in base.model.roi_head.bbox_head
    ]
    extractor = dict(out_channels=channels)
    base.merge_from_dict(
        dict(
            model=dict(
                neck=dict(in_channels=24, out_channels=channels),
                rpn_head=dict(in_channels=channels, feat_channels=channels),
                roi_head=dict(
                    bbox_head=heads,
                    bbox_roi_extractor=extractor,
                    mask_roi_extractor=extractor,
                    mask_head=dict(narrow, num_classes=len(NAMES)),
                ),
                test_cfg=dict(
                    rpn=dict(nms_pre=20, max_per_img=10),
                    rcnn=dict(max_per_img=4, score_thr=0.0),
                ),
            )
        )
    )
    base.model.backbone = dict(type='beit3_mm.BEiT3ViT', **ARCH)
    pipeline = [dict(step) for step in base.test_pipeline]
    pipeline[1]['scale'] = (64, 64)
    return dict(
        model=base.model.to_dict(),
        pipeline=pipeline,
        metainfo=dict(classes=NAMES),
    )


def tokenize(tokenizer_file):
    return dict(
        type='beit3_mm.TokenizeText',
        model_file=str(tokenizer_file),
        max_tokens=32,
    )


KINDS = {
    'detection': detection,
    'segmentation': segmentation,
    'vqa': vqa,
    'nlvr2': nlvr2,
    'caption': caption,
    'retrieval': retrieval,
    'names': names,
    'linear': linear,
}


def config_of(kind, tokenizer_file, folder):
    """Returns the config of a task; its data set is nowhere."""
    parts = KINDS[kind](tokenizer_file, folder)
    dataset = dict(type='mmengine.BaseDataset', ann_file='gone.json')
    for key in ('pipeline', 'metainfo'):
        if key in parts:
            dataset[key] = parts.pop(key)
    return Config(
        dict(
            default_scope='mmengine',
            test_dataloader=dict(dataset=dataset),
            **parts,
        )
    )


def write(kind, tokenizer_file, folder):
    """Writes the config and the checkpoint; returns their paths."""
    config = config_of(kind, tokenizer_file, folder)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.8)
        if name.endswith('bias'):  # they would drown the image
            torch.nn.init.zeros_(parameter)
        elif name.endswith('logit_scale'):
            torch.nn.init.constant_(parameter, 3.0)
    paths = folder / f'{kind}.py', folder / f'{kind}.pth'
    config.dump(paths[0])
    torch.save({'state_dict': model.state_dict()}, paths[1])
    return paths
