# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import sys
from types import SimpleNamespace

import pytest
from torch import nn

from beit3_mm import compat
from beit3_mm.compat import fixes
from beit3_mm.layers.embeddings import VisionEmbedding
from beit3_mm.ops import multi_scale_deformable_attention

HIDE_HOSTS = """
import sys

HOSTS = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')

class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in HOSTS:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
"""


def test_importing_the_package_imports_no_host_and_no_model(run_python):
    loaded = run_python(
        'import sys, beit3_mm\nprint(*sys.modules, sep="\\n")'
    ).split()
    assert 'beit3_mm.compat' in loaded
    for name in ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'):
        assert name not in loaded
    assert 'beit3_mm.models' not in loaded
    assert 'beit3_mm.registry' not in loaded


def test_the_package_imports_without_hosts(run_python):
    printed = run_python(
        HIDE_HOSTS + 'import beit3_mm, beit3_mm.layers, beit3_mm.ops\n'
        'try:\n'
        "    beit3_mm.compat.require_hosts('mmengine', 'mmseg')\n"
        'except ImportError as error:\n'
        '    print(error)\n'
    )
    assert printed.startswith('Hosts not installed: mmengine, mmseg.')
    assert "pip install 'beit3_mm[hosts]'" in printed
    assert 'pip install mmengine mmsegmentation' in printed


def test_require_hosts_accepts_installed_hosts_and_refuses_others():
    compat.require_hosts('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
    with pytest.raises(ValueError, match='mmpose'):
        compat.require_hosts('mmpose')


def test_installing_again_changes_nothing():
    before = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == before


def test_stand_in_serves_mmcv_without_compiled_ops(run_python, write_files):
    folder = write_files({'mmcv/__init__.py': ''})
    printed = run_python(
        'import beit3_mm, mmcv._ext as ext\nprint(ext.__name__, ext.__file__)',
        folder,
    )
    name, file = printed.split()
    assert name == 'mmcv._ext'
    assert file.endswith('mmcv_ext.py')


def test_compiled_ops_keep_their_place(run_python, write_files):
    folder = write_files(
        {'mmcv/__init__.py': '', 'mmcv/_ext.py': "nms = 'compiled'"}
    )
    printed = run_python(
        'import beit3_mm, mmcv._ext\nprint(mmcv._ext.nms)', folder
    )
    assert printed == 'compiled'


def test_compiled_ops_that_do_not_load_are_reported(run_python, write_files):
    folder = write_files(
        {
            'mmcv/__init__.py': '',
            'mmcv/_ext.py': "raise ImportError('undefined symbol: x')",
        }
    )
    printed = run_python(
        'import beit3_mm\n'
        'try:\n'
        '    import mmcv._ext\n'
        'except ImportError as error:\n'
        '    print(error)\n',
        folder,
    )
    assert printed == 'undefined symbol: x'


@pytest.mark.parametrize('first', ['beit3_mm', 'mmpretrain.utils.dependency'])
def test_mmpretrain_is_mended_in_either_order(run_python, write_files, first):
    folder = write_files(
        {
            'mmpretrain/__init__.py': '',
            'mmpretrain/utils/__init__.py': '',
            'mmpretrain/utils/dependency.py': (
                'WITH_MULTIMODAL = True\n'
                'def satisfy_requirement(dep):\n'
                "    return dep == 'transformers>=5'\n"
            ),
        }
    )
    printed = run_python(
        f'import {first}, beit3_mm\n'
        'from mmpretrain.utils.dependency import WITH_MULTIMODAL\n'
        'print(WITH_MULTIMODAL)',
        folder,
    )
    assert printed == 'False'


def test_multimodal_models_stay_beside_older_transformers():
    module = SimpleNamespace(
        WITH_MULTIMODAL=True, satisfy_requirement=lambda dep: False
    )
    fixes.disable_multimodal(module)
    assert module.WITH_MULTIMODAL


def test_all_models_of_the_hosts_can_be_imported():
    import mmdet.models
    import mmpretrain.models
    import mmseg.models

    assert mmdet.models.CascadeRCNN
    assert mmseg.models.UPerHead
    assert mmpretrain.models.ImageClassifier


def test_deformable_attention_is_ours(run_python):
    printed = run_python(
        'import beit3_mm\n'
        'from mmcv.ops import multi_scale_deform_attn as module\n'
        'print(module.multi_scale_deformable_attn_pytorch.__module__)\n'
        'print(module.ext_module.__file__.endswith(".py"), '
        'module.IS_CUDA_AVAILABLE)\n'
    ).splitlines()
    assert printed[0] == 'beit3_mm.ops.ms_deform_attn'
    # Without compiled operators GPUs take the same way.
    assert printed[1] in ('True False', 'False True', 'False False')


@pytest.mark.parametrize(
    ('file', 'on_gpus'), [('_ext.cpython.so', True), ('mmcv_ext.py', False)]
)
def test_compiled_deformable_attention_keeps_its_place(file, on_gpus):
    module = SimpleNamespace(
        ext_module=SimpleNamespace(__file__=file),
        IS_CUDA_AVAILABLE=True,
        multi_scale_deformable_attn_pytorch=None,
    )
    fixes.replace_deformable_attention(module)
    assert module.IS_CUDA_AVAILABLE is on_gpus
    assert (
        module.multi_scale_deformable_attn_pytorch
        is multi_scale_deformable_attention
    )


def test_pretrained_weights_are_loaded_by_us_where_our_encoder_is():
    class Theirs:
        def __call__(self, model):
            self.loaded = model

    module = SimpleNamespace(PretrainedInit=Theirs)
    fixes.load_pretrained_encoders(module)
    first = Theirs.__call__
    fixes.load_pretrained_encoders(module)
    assert Theirs.__call__ is first
    initializer, model = Theirs(), nn.Linear(2, 2)
    initializer(model)
    assert initializer.loaded is model
    initializer.checkpoint, initializer.prefix = 'gone.pth', None
    with pytest.raises(FileNotFoundError, match=r'file gone\.pth'):
        initializer(nn.Sequential(VisionEmbedding(8, 4, 6)))
    assert initializer.loaded is model
