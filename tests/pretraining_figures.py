# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The figures of the pretraining recipes.

T2, T11 and S2 are Tables 2 and 11 and section 2 of arXiv 2208.10442 (giant);
V2 is BEiT v2's pretraining, microsoft/unilm, folder beit2.
"""

from vision_language_figures import ABSENT, HALVES, SIZES

OPTIMIZER = 'optim_wrapper.optimizer'
PARAMWISE = 'optim_wrapper.paramwise_cfg'
T11 = {
    'train_cfg.max_iters': 1_000_000,
    'param_scheduler.0.end': 10_000,
    'param_scheduler.1.begin': 10_000,
    f'{OPTIMIZER}.type': 'AdamW',
    f'{OPTIMIZER}.betas': (0.9, 0.98),
    f'{OPTIMIZER}.eps': 1e-6,
    f'{OPTIMIZER}.lr': 1e-3,
    f'{OPTIMIZER}.weight_decay': 0.05,
    'optim_wrapper.clip_grad.max_norm': 3.0,
    'auto_scale_lr.base_batch_size': 6144,
    'model.backbone.drop_path_rate': 0.1,
    'model.backbone.img_size': 224,
}
SECTION_2 = {
    'model.type': 'beit3_mm.MaskedDataModeling',
    'model.head.type': 'beit3_mm.MaskedModelingHead',
    'model.head.vocab_size': 64010,
    'model.head.num_visual_codes': 8192,  # V2
    'model.visual_tokenizer.type': 'beit3_mm.VQKD',  # V2
    'model.visual_tokenizer.num_codes': 8192,
    'model.visual_tokenizer.patch_size': 16,
    'model.mask_pair_images': True,  # ours
    'param_scheduler.1.eta_min_ratio': 0.01,  # V2: 1e-5
    f'{PARAMWISE}.layer_decay_rate': 1.0,
    f'{PARAMWISE}.flat_decay_mult': 0.0,
    'optim_wrapper.type': 'beit3_mm.AmpOptimWrapper',
    'load_from': None,
    **HALVES,
}
OURS = {  # the laptop's
    'train_cfg.max_iters': 20_000,
    'param_scheduler.0.end': 1_000,
    'param_scheduler.1.begin': 1_000,
    'auto_scale_lr.base_batch_size': 48,
}


def _size(size):
    width, layers, heads, inner, patch, released, experts = SIZES[size]
    model = dict(
        embed_dims=width,
        num_layers=layers,
        num_heads=heads,
        feedforward_channels=inner,
        patch_size=patch,
        multiway_attention=released,
        sub_norm=released,
        num_vl_layers=experts,
        final_norm=ABSENT,
    )
    return {
        **{f'model.backbone.{key}': x for key, x in model.items()},
        'model.head.embed_dims': width,
        **T11,
        **SECTION_2,
    }


# Size, pixels of the tokenizer's view (T2's patch 14: 16 x 16 patches),
# patches masked of how many: 40% (S2)
PRETRAINING = {
    'pretrain/beit3_mdm.py': ('base', 224, 78, 196),
    'pretrain/beit3-large_mdm.py': ('large', 224, 78, 196),
    'pretrain/beit3-giant_mdm.py': ('giant', 256, 102, 256),
    'pretrain/beit3-tiny_mdm.py': ('base', 224, 78, 196),
}
PRETRAINING_FIGURES = {
    name: _size(size) for name, (size, *_) in PRETRAINING.items()
}
TINY = dict(embed_dims=128, num_layers=4, num_heads=4)
PRETRAINING_FIGURES['pretrain/beit3-tiny_mdm.py'] |= {
    **{f'model.backbone.{key}': x for key, x in TINY.items()},
    'model.backbone.feedforward_channels': 512,
    'model.head.embed_dims': 128,
    **OURS,
}
