# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import json
from pathlib import Path

import pytest

from beit3_mm.evaluation.ptb_tokenizer import ptb_words

GOLDEN = Path(__file__).parents[1] / 'golden/caption_scores.json.gz'


def test_words_are_those_of_the_java_program():
    with gzip.open(GOLDEN, 'rt', encoding='utf-8') as file:
        golden = json.load(file)
    assert len(golden['sentences']) == len(golden['words']) >= 10
    for sentence, words in zip(golden['sentences'], golden['words']):
        assert ptb_words(sentence) == words, sentence


@pytest.mark.parametrize(
    ('caption', 'words'),
    [
        ('', ''),
        (' \t.\n', ''),
        ('A man, a dog and THE end.', 'a man a dog and the end'),
        ("It's James' bike; isn't it?", "it 's james bike is n't it"),
        ('He can’t.', "he ca n't"),
        ('black-and-white T-shirt - 2x4', 'black-and-white t-shirt 2x4'),
        ('"Stop" (sign)!!', 'stop -lrb- sign -rrb- !!'),
        ('Mt. Fuji at 5 p.m. on the mt', 'mt. fuji at 5 p.m. on the mt'),
        ('a mass. In Mass. mass, IN MASS.', 'a mass in mass. mass in mass.'),
        ('an mtg. AN MTG.', 'an mtg. an mtg'),
        ('no. 5, "No. 5", no. x, no.  5', 'no. 5 no. 5 no x no 5'),
        ('vitamin c. the. vitamin C. The', 'vitamin c. the vitamin c the'),
        ('wanna, cannot; wannabe', 'wan na can not wannabe'),
        ('man.woman man . woman man.,', 'man.woman man woman man.'),
        ('$5 50% #1 £2 ½ 1,000.50', '$ 5 50 % # 1 # 2 1/2 1,000.50'),
        ('a smile 😀 :)', 'a smile :-rrb-'),
        ('wait... – — --- ok', 'wait ok'),
        ('日本 café naïve', '日本 café naïve'),
    ],
)
def test_rules(caption, words):
    assert ptb_words(caption) == words.split()
