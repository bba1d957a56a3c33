# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import tiny_tasks
from mmengine.registry import MODELS

from beit3_mm.apis import Inferencer
from beit3_mm.engine.vocabulary_check import check_vocabularies
from beit3_mm.tokenizer import Tokenizer

LARGER, MASK = 'has 38 ids, but the model vocab_size=37', 'of .* is 37, but'


@pytest.fixture
def config_of(tokenizer_file, tmp_path):
    """Returns a function that makes the config of a task."""
    return lambda kind: tiny_tasks.config_of(kind, tokenizer_file, tmp_path)


def test_the_number_of_ids(tokenizer_file):
    assert Tokenizer(tokenizer_file).num_ids == 38


@pytest.mark.parametrize(
    ('kind', 'option', 'value', 'message'),
    [
        ('vqa', 'backbone.vocab_size', 37, LARGER),
        ('nlvr2', 'backbone.vocab_size', 37, LARGER),
        ('retrieval', 'backbone.vocab_size', 37, LARGER),
        ('names', 'backbone.vocab_size', 37, LARGER),
        ('vqa', 'head.num_answers', 7, 'has 6 answers, the model 7: it must'),
        ('caption', 'beam_search.mask_id', 36, f'{MASK}.*mask_id=36: take'),
        ('caption', 'beam_search.mask_id', 39, f'{MASK}.*mask_id=39: take'),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_named(
    config_of, tokenizer_file, kind, option, value, message
):
    config = config_of(kind)
    parts = config.model, config.test_dataloader, config.get('test_evaluator')
    check_vocabularies(MODELS.build(config.model), *parts)
    config.merge_from_dict({f'model.{option}': value})
    with pytest.raises(ValueError, match=message) as failure:
        check_vocabularies(MODELS.build(config.model), *parts)
    file = 'answers.txt' if 'answers' in option else str(tokenizer_file)
    assert file in str(failure.value)
    with pytest.raises(ValueError, match=message):
        Inferencer(config)


def test_a_model_without_texts_fits_any(config_of):
    model = MODELS.build(config_of('linear').model)
    check_vocabularies(model, [dict(model_file='gone.spm')], None)


def test_a_missing_file_is_named(config_of):
    model = MODELS.build(config_of('vqa').model)
    with pytest.raises(FileNotFoundError, match=r'gone\.spm: no such token'):
        check_vocabularies(model, dict(steps=[dict(model_file='gone.spm')]))
