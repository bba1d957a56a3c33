# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What may import what, and documentation that runs."""

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import beit3_mm.registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'beit3_mm'
HOSTS = ('mmdet', 'mmseg', 'mmpretrain')
# The only folders that may import them.
WITH_HOSTS = (
    *('models/detection', 'models/segmentation'),
    *('datasets', 'apis', 'compat'),
)


def imports(path):
    """Yields the names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def modules(*folders):
    paths = [p for folder in folders for p in (PACKAGE / folder).rglob('*.py')]
    assert paths
    return paths


def test_hosts_meet_us_in_configs():
    for path in modules('.'):
        relative = str(path.relative_to(PACKAGE))
        if not relative.startswith(WITH_HOSTS):
            roots = {name.split('.')[0] for name in imports(path)}
            assert not roots & set(HOSTS), relative


def test_layers_and_ops_import_only_torch():
    for path in modules('layers', 'ops'):
        for name in imports(path):
            root = name.split('.')[0]
            allowed = {'beit3_mm', 'torch', *sys.stdlib_module_names}
            assert root in allowed, (path, name)
            if name.startswith('beit3_mm'):
                assert name.startswith(('beit3_mm.layers', 'beit3_mm.ops'))


def test_the_encoder_needs_no_host():
    code = (
        'import sys\n'
        'import beit3_mm.models.beit3\n'
        'hosts = {"mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain"}\n'
        'print(hosts & {name.split(".")[0] for name in sys.modules})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == 'set()'


def test_registry_locations_exist():
    text = (PACKAGE / 'registry.py').read_text()
    locations = re.findall(r"'((?:models|datasets|engine)[\w.]*)'", text)
    assert len(locations) >= 8
    for location in locations:
        path = PACKAGE.joinpath(*location.split('.'))
        assert (path / '__init__.py').is_file() or path.with_suffix(
            '.py'
        ).is_file(), location


def readme_blocks():
    """Yields the configs among the README's code blocks."""
    text = (ROOT / 'README.md').read_text()
    for block in re.findall(r'(?:^    .*\n|^\n)+', text, re.MULTILINE):
        lines = [line[4:] for line in block.splitlines()]
        if any(line.startswith('_base_') for line in lines):
            yield '\n'.join(lines)


def test_the_readme_has_configs():
    assert len(list(readme_blocks())) == 2


@pytest.mark.parametrize('text', readme_blocks())
def test_configs_of_the_readme_build(text, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(text)
    config = Config.fromfile(path)
    scope = config.model.get('_scope_', 'mmengine')
    with DefaultScope.overwrite_default_scope(scope):
        assert MODELS.build(config.model).backbone is not None


def documented_models(*packages):
    """Yields the registered classes of packages and their examples."""
    beit3_mm.registry.MODELS.import_from_location()
    for cls in beit3_mm.registry.MODELS.module_dict.values():
        if cls.__module__.startswith(packages):
            _, _, example = inspect.getdoc(cls).partition('Example:')
            lines = [line.strip()[4:] for line in example.splitlines()]
            yield cls, '\n'.join(lines).strip()


def test_examples_of_heads_and_models_build():
    names = 'heads', 'multimodal', 'pretraining'
    packages = [f'beit3_mm.models.{name}' for name in names]
    models = list(documented_models(*packages))
    assert len(models) >= 12
    for cls, example in models:
        model = MODELS.build(eval(example))
        kinds = {type(module) for module in model.modules()}
        assert cls in kinds, cls


PAGES = sorted(
    page
    for page in (*ROOT.glob('*.md'), *ROOT.glob('*/**/*.md'))
    if not {'.venv', 'work_dirs', '.mim'} & set(page.relative_to(ROOT).parts)
)


def test_pages_are_found():
    assert len(PAGES) >= 5


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)\)', page.read_text()):
        if '://' not in target:
            assert (page.parent / target).exists(), target


def test_names_of_test_files_do_not_repeat():
    """Pytest imports them by their name alone."""
    names = Counter(path.name for path in ROOT.glob('tests/**/test_*.py'))
    assert len(names) > 50
    assert [name for name, count in names.items() if count > 1] == []


def test_files_that_the_documentation_names_exist():
    pattern = (
        r'\b(?:beit3_mm|configs|projects|tests|tools)/[\w./-]+\.(?:py|sh)\b'
    )
    names = {
        name
        for page in (ROOT / 'README.md', *ROOT.glob('docs/**/*.md'))
        for name in re.findall(pattern, page.read_text())
    }
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).is_file()] == []
