# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from beit3_mm.evaluation import java_scores
from beit3_mm.evaluation.java_scores import java_score, require_java
from beit3_mm.evaluation.ptb_tokenizer import ptb_words

GOLDEN = Path(__file__).parents[1] / 'golden/caption_scores.json.gz'


@pytest.fixture
def pycocoevalcap(monkeypatch):
    """Stands in for the package; returns the calls."""
    calls = []

    class Scorer:
        def compute_score(self, truths, found):
            calls.append((type(self).__name__, truths, found))
            return 0.25, [0.25]

    for path, name in (('meteor.meteor', 'Meteor'), ('spice.spice', 'Spice')):
        module = ModuleType(f'pycocoevalcap.{path}')
        setattr(module, name, type(name, (Scorer,), {}))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        parent = module.__name__.rpartition('.')[0]
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    package = ModuleType('pycocoevalcap')
    monkeypatch.setitem(sys.modules, 'pycocoevalcap', package)
    monkeypatch.setattr(java_scores, 'find_spec', lambda name: package)
    monkeypatch.setattr(shutil, 'which', lambda name: f'/bin/{name}')
    return calls


@pytest.mark.parametrize('name', ['METEOR', 'SPICE'])
def test_words_are_handed_over(pycocoevalcap, name):
    captions, truths = [['a', 'dog'], []], [[['a', 'cat'], ['dog']], [['x']]]
    assert java_score(name, captions, truths) == 0.25
    assert pycocoevalcap == [
        (
            name.capitalize(),
            {0: ['a cat', 'dog'], 1: ['x']},
            {0: ['a dog'], 1: ['']},
        )
    ]


def test_what_is_missing_is_named(pycocoevalcap, monkeypatch):
    require_java('METEOR', 'SPICE')
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=r'METEOR of .* need Java, and'
    ):
        require_java('METEOR')
    monkeypatch.setattr(java_scores, 'find_spec', lambda name: None)
    match = r"METEOR, SPICE of .*pycocoevalcap: pip install 'beit3_mm\[capti"
    with pytest.raises(ImportError, match=match):
        require_java('METEOR', 'SPICE')
    with pytest.raises(ImportError, match='SPICE of captions need pycoco'):
        java_score('SPICE', [], [])
    require_java()  # needs neither


@pytest.mark.skipif(
    find_spec('pycocoevalcap') is None or shutil.which('java') is None,
    reason='needs the extra [caption] and Java',
)
def test_meteor_is_that_of_pycocoevalcap():
    with gzip.open(GOLDEN, 'rt', encoding='utf-8') as file:
        golden = json.load(file)
    references = [[ptb_words(x) for x in r] for r in golden['references']]
    captions = [ptb_words(x) for x in golden['captions']]
    score = java_score('METEOR', captions, references)
    assert score == pytest.approx(golden['scores']['METEOR'], abs=1e-9)
