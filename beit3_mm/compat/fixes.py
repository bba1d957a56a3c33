# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What is changed in modules of the hosts, one function each."""

from types import ModuleType
from typing import Any


def add_config_packages(module: ModuleType) -> None:
    """Makes `beit3_mm::` and `mmseg::` work in `_base_`.

    mmengine asks for a distribution of the name in this table first and for
    a module of that name second, and looks for `.mim/configs` beside the
    file it finds.

    Args:
        module: `mmengine.config.utils`.
    """
    # No distribution has the name of a submodule, so that the folder of the
    # *imported* beit3_mm is found, not that of another clone or wheel that
    # the environment holds as well.
    module.MODULE2PACKAGE['beit3_mm'] = 'beit3_mm.registry'
    # The fork's distribution is not called mmsegmentation; its module is
    # called mmseg, as the original's is.
    module.MODULE2PACKAGE['mmseg'] = 'mmseg'


def load_pretrained_encoders(module: ModuleType) -> None:
    """Makes `init_cfg=dict(type='Pretrained', ...)` understand BEiT-3 files.

    In a model of ours or of a host's that holds BEiT-3's encoder, official
    files and those of other tasks load, with a report, and a file without an
    encoder is an error; mmengine's way would silently load nothing. All
    other models load as before.

    Args:
        module: `mmengine.model.weight_init`.
    """
    from beit3_mm.layers.embeddings import VisionEmbedding

    initializer = module.PretrainedInit
    load = initializer.__call__
    if load.__module__ == __name__:  # done already
        return

    def load_or_report(self: Any, model: Any) -> None:
        if not any(isinstance(x, VisionEmbedding) for x in model.modules()):
            return load(self, model)
        from beit3_mm.engine.pretrained import load_pretrained

        load_pretrained(model, self.checkpoint, self.prefix)
        if hasattr(model, '_params_init_info'):  # mmengine's own account
            module.update_init_info(model, self._get_init_info())

    initializer.__call__ = load_or_report


def disable_multimodal(module: ModuleType) -> None:
    """Keeps `import mmpretrain.models` alive beside transformers 5.

    mmpretrain's multimodal models do not import with it; beside transformers
    4 they do, and stay as they are.

    Args:
        module: `mmpretrain.utils.dependency`.
    """
    if module.satisfy_requirement('transformers>=5'):
        module.WITH_MULTIMODAL = False


def replace_deformable_attention(module: ModuleType) -> None:
    """Puts ours in the place of mmcv's pure-PyTorch deformable attention.

    mmcv calls it on CPUs and for bfloat16, even beside compiled operators,
    which keep their place. Without these it serves GPUs as well.

    Args:
        module: `mmcv.ops.multi_scale_deform_attn`.
    """
    from beit3_mm.ops import multi_scale_deformable_attention

    module.multi_scale_deformable_attn_pytorch = (
        multi_scale_deformable_attention
    )
    if module.ext_module.__file__.endswith('.py'):  # our stand-in
        module.IS_CUDA_AVAILABLE = False
