# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest

import beit3_mm  # noqa: F401  makes mmpretrain importable
from beit3_mm.models.multimodal.class_names import read_class_names

TOOL = 'dataset_converters/imagenet_names'
# Lines as in the file, their ends left out
NOUNS = (
    '  1 This software and database is being provided to you',
    '00004475 03 n 02 organism 0 being 0 055 @ 00004258 n 0000 | a living',
    '01440764 05 n 02 tench 0 Tinca_tinca 0 003 @ 01439121 n 0000 | fresh',
    '01443537 05 n 02 goldfish 0 Carassius_auratus 0 004 @ 01439121 n 0000',
    '02012849 05 n 01 crane 1 004 @ 02000954 n 0000 | large long-necked',
    '09999999 05 n 0b a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 000 |',
)


@pytest.fixture
def wordnet(tmp_path):
    path = tmp_path / 'data.noun'
    path.write_text('\n'.join(NOUNS) + '\n')
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ('n01443537', 'n01440764', 'n09999999'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    (tmp_path / 'train/readme.txt').write_text('no class')
    return tmp_path / 'train'


def test_names_are_mmpretrains(folder, wordnet, tmp_path, run_tool, capsys):
    out = tmp_path / 'new/names.txt'
    run_tool(TOOL, folder, '--wordnet', wordnet, '--out', out)
    assert capsys.readouterr().out == f'class names: {out} (3 classes)\n'
    names = read_class_names(str(out))
    known = read_class_names(
        'mmpretrain.datasets.categories.IMAGENET_CATEGORIES'
    )
    assert names == [*known[:2], 'a, b, c, d, e, f, g, h, i, j, k']
    assert [path.name for path in out.parent.iterdir()] == ['names.txt']


def test_faults_are_named(folder, wordnet, tmp_path, run_tool):
    def fails(text, where=folder, nouns=wordnet, out=tmp_path / 'names.txt'):
        with pytest.raises(SystemExit) as failure:
            run_tool(TOOL, where, '--wordnet', nouns, '--out', out)
        assert text in failure.value.code

    fails(
        'data.noun: no such file; it is dict', nouns=tmp_path / 'x/data.noun'
    )
    fails('there is no folder', where=tmp_path / 'val')
    fails('holds no folders of classes', where=folder / 'n01440764')
    fails('data.noun exists: choose another', out=wordnet)
    (tmp_path / 'empty.noun').write_text('')
    fails('empty.noun: there is no noun', nouns=tmp_path / 'empty.noun')
    (folder / 'n00000001').mkdir()
    (folder / 'tench').mkdir()
    fails("2 of 5 folders are not called by an id of WordNet 3.0, such as ['n")
    other = tmp_path / 'data.verb'
    other.write_text('00001740 29 v 04 breathe 0 take_a_breath 0 respire 0')
    fails("data.verb, line 1: not a line of WordNet's data.noun", nouns=other)
    other.write_text('<html>')
    fails("line 1: not a line of WordNet's data.noun: '<html>'", nouns=other)
