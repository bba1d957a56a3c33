# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The figures of ViT-Adapter and of the paper for `configs/seg`.

VA is czczup/ViT-Adapter, mask2former_beitv2_adapter_large_896_80k_ade20k_ss;
T15 and T2 are Tables 15 and 2 of arXiv 2208.10442; E is EVA-01's segmentor.
"""

ABSENT = 'absent'


def under(prefix, figures):
    """Puts a prefix in front of dotted keys."""
    return {f'{prefix}.{key}': value for key, value in figures.items()}


_TRAIN = 'train_dataloader.dataset.dataset.pipeline'
_TEST = 'test_dataloader.dataset.pipeline'
VA_SCHEDULE = {
    'train_cfg.max_iters': 80000,
    **under(
        'optim_wrapper',
        {
            'optimizer.type': 'AdamW',
            'optimizer.betas': (0.9, 0.999),
            'optimizer.weight_decay': 0.05,
            'paramwise_cfg.flat_decay_mult': 0.0,
            'clip_grad': ABSENT,
        },
    ),
    **under(
        'param_scheduler',
        {
            '0.type': 'mmengine.LinearLR',
            '0.by_epoch': False,
            '0.begin': 0,
            '0.end': 1500,
            '0.start_factor': 1e-6,
            '1.type': 'mmengine.PolyLR',
            '1.by_epoch': False,
            '1.power': 1.0,
            '1.eta_min': 0.0,
            '1.begin': 1500,
            '1.end': 80000,
        },
    ),
    'auto_scale_lr.base_batch_size': 16,
    'train_dataloader.batch_size': 1,
}
VA_DATA = {
    f'{_TRAIN}.2.scale': (3584, 896),
    f'{_TRAIN}.2.ratio_range': (0.5, 2.0),
    f'{_TRAIN}.3.crop_size': (896, 896),
    f'{_TRAIN}.3.cat_max_ratio': 0.75,
    f'{_TRAIN}.4.prob': 0.5,
    f'{_TRAIN}.5': {'type': 'mmseg.PhotoMetricDistortion'},
    f'{_TEST}.1.scale': (3584, 896),
    f'{_TEST}.1.keep_ratio': True,
    **under(
        'model.data_preprocessor',
        {
            'size': (896, 896),
            'test_cfg.size': (896, 896),  # VA pads short sides to it
            # BEiT-3's own (unilm/beit3), not VA's of ImageNet
            'mean': [127.5] * 3,
            'std': [127.5] * 3,
            'bgr_to_rgb': True,
            'seg_pad_val': 255,
        },
    ),
    **under(
        'model.test_cfg',
        {'mode': 'slide', 'crop_size': (896, 896), 'stride': (512, 512)},
    ),
    'tta_model.type': 'beit3_mm.SemanticTTAModel',
    **under(
        'tta_pipeline.1.transforms',
        {
            # E: 512 to 1280, and flips
            '0.0.scale': (2048, 512),
            '0.-1.scale': (5120, 1280),
            '1.0.prob': 0.0,
            '1.1.prob': 1.0,
        },
    ),
}
VA_ADAPTER = under(
    'model.backbone',
    {
        'conv_channels': 64,
        'num_points': 4,
        'deform_num_heads': 16,
        'ffn_ratio': 0.25,
        'value_ratio': 0.5,
        'vit.patch_size': 16,
        'vit.with_cls_token': True,
        # global attention everywhere
        'vit.window_size': ABSENT,
    },
)
_FFN = 'layer_cfg.ffn_cfg.feedforward_channels'
VA_DECODER = under(
    'model.decode_head',
    {
        'strides': [4, 8, 16, 32],
        'num_queries': 200,
        'feat_channels': 1024,
        'out_channels': 1024,
        'num_transformer_feat_level': 3,
        'pixel_decoder.norm_cfg': {'type': 'GN', 'num_groups': 32},
        'pixel_decoder.encoder.num_layers': 6,
        'pixel_decoder.encoder.layer_cfg.self_attn_cfg': {
            'embed_dims': 1024,
            'num_heads': 32,
            'num_levels': 3,
            'num_points': 4,
            'dropout': 0.0,
            'batch_first': True,
        },
        f'pixel_decoder.encoder.{_FFN}': 4096,
        'transformer_decoder.num_layers': 9,
        'transformer_decoder.layer_cfg.self_attn_cfg.num_heads': 32,
        'transformer_decoder.layer_cfg.cross_attn_cfg.num_heads': 32,
        f'transformer_decoder.{_FFN}': 4096,
        'loss_cls.loss_weight': 2.0,
        'loss_mask.loss_weight': 5.0,
        'loss_dice.loss_weight': 5.0,
        'loss_cls.class_weight.0': 1.0,
        'loss_cls.class_weight.-1': 0.1,
        'train_cfg.num_points': 12544,
        'train_cfg.oversample_ratio': 3.0,
        'train_cfg.importance_sample_ratio': 0.75,
        'train_cfg.assigner.type': 'mmdet.HungarianAssigner',
        **under(
            'train_cfg.assigner.match_costs',
            {
                '0.type': 'mmdet.ClassificationCost',
                '0.weight': 2.0,
                '1.type': 'mmdet.CrossEntropyLossCost',
                '1.weight': 5.0,
                '2.type': 'mmdet.DiceCost',
                '2.weight': 5.0,
            },
        ),
    },
)


def _size(width, layers, heads, inner, lr, decay, drop_path, **vit):
    """Figures that differ between base, large and giant."""
    vit |= dict(embed_dims=width, num_layers=layers, num_heads=heads)
    vit |= dict(feedforward_channels=inner, drop_path_rate=drop_path)
    return {
        'optim_wrapper.optimizer.lr': lr,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': decay,
        'model.decode_head.in_channels': [width] * 4,
        **under('model.backbone.vit', vit),
    }


RELEASED = dict(multiway_attention=True, sub_norm=True)
PAPER = dict(multiway_attention=False, sub_norm=False)
SIZES = {
    # VA's large recipe; drop path ours
    '': _size(768, 12, 12, 3072, 2e-5, 0.9, 0.2, **RELEASED),
    '-large': _size(1024, 24, 16, 4096, 2e-5, 0.9, 0.3, **RELEASED),  # VA
    # T15, T2; patches of 14 become 16, so that 224 pixels become 256 (E)
    '-giant': _size(
        1408, 40, 16, 6144, 1e-5, 0.95, 0.5, **PAPER, img_size=256
    ),
}
CLASSES = {
    'ade20k': {'model.decode_head.num_classes': 150},
    'coco-stuff164k': {
        'model.decode_head.num_classes': 171,
        'load_from': None,
    },
}
SEGMENTORS = {
    f'seg/beit3{size}_mask2former_{data}.py': (
        VA_SCHEDULE | VA_DATA | VA_ADAPTER | VA_DECODER | figures | classes
    )
    for size, figures in SIZES.items()
    for data, classes in CLASSES.items()
}
