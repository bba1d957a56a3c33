# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
from mmengine.config import Config

import beit3_mm

READ_ARCHS = (
    'import {first}, beit3_mm\n'
    'from mmengine.config import Config\n'
    "print(Config.fromfile('{config}').archs.base.embed_dims)"
)


@pytest.mark.parametrize(
    ('base', 'key'),
    [
        ('beit3_mm::_base_/archs.py', 'archs'),
        ('mmseg::_base_/models/upernet_r50.py', 'model'),
        ('mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py', 'model'),
        ('mmpretrain::_base_/models/vit-base-p16.py', 'model'),
    ],
)
def test_configs_inherit_from_packages(write_files, base, key):
    folder = write_files({'child.py': f"_base_ = '{base}'\n"})
    assert key in Config.fromfile(folder / 'child.py')


def test_mim_folder_leads_to_configs_and_tools():
    mim = Path(beit3_mm.__file__).parent / '.mim'
    assert (mim / 'model-index.yml').is_file()
    assert (mim / 'configs' / '_base_' / 'archs.py').is_file()
    assert (mim / 'tools').is_dir()


@pytest.mark.parametrize('first', ['beit3_mm', 'mmengine.config'])
def test_the_imported_package_is_asked_not_an_installed_one(
    run_python, write_files, first
):
    # An environment that holds another beit3_mm as a distribution.
    decoy = {
        'beit3_mm-9.9.dist-info/METADATA': 'Name: beit3_mm\nVersion: 9.9\n',
        'beit3_mm-9.9.dist-info/top_level.txt': 'beit3_mm\n',
        'beit3_mm/__init__.py': '',
        'beit3_mm/.mim/model-index.yml': 'Import: []\n',
        'beit3_mm/.mim/configs/_base_/archs.py': "archs = 'decoy'\n",
        'child.py': "_base_ = 'beit3_mm::_base_/archs.py'\n",
    }
    folder = write_files(decoy)
    code = READ_ARCHS.format(first=first, config=folder / 'child.py')
    assert run_python(code, folder) == '768'
