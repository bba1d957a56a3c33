# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Figures of the visual tokenizer, for test_recipes.py.

Sources: unilm/beit2, TOKENIZER.md, modeling_vqkd.py and norm_ema_quantizer.py.
"""

_TOKENIZER = dict(
    img_size=224,
    patch_size=16,
    embed_dims=768,
    num_layers=12,
    num_heads=12,
    feedforward_channels=3072,
    num_decoder_layers=1,
    teacher_dims=512,
    num_codes=8192,
    code_dims=32,
    init_cfg=None,
)
VISUAL_TOKENIZERS = {
    'pretrain/vqkd_base_imagenet1k.py': {
        **{f'model.tokenizer.{k}': v for k, v in _TOKENIZER.items()},
        'model.teacher.type': 'mmpretrain.CLIPGenerator',
        'model.data_preprocessor.mean': [0.0, 0.0, 0.0],
        'model.data_preprocessor.std': [255.0, 255.0, 255.0],
        'train_cfg.max_epochs': 100,
        'param_scheduler.0.end': 10,
        'param_scheduler.1.begin': 10,
        'auto_scale_lr.base_batch_size': 512,
        'optim_wrapper.optimizer.betas': (0.9, 0.99),
        'optim_wrapper.optimizer.weight_decay': 1e-4,
        'optim_wrapper.paramwise_cfg.flat_decay_mult': 0.0,
        'optim_wrapper.paramwise_cfg.custom_keys': {
            'cls_token': {'decay_mult': 0.0},
            'positions': {'decay_mult': 0.0},
        },
        'val_evaluator.num_codes': 8192,
        'train_dataloader.dataset.dataset.pipeline.1.scale': (224, 224),
        'train_dataloader.dataset.dataset.pipeline.1.type': (
            'mmpretrain.RandomResizedCrop'
        ),
    }
}
