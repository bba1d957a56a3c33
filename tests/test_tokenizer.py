# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import io
import pickle

import numpy as np
import pytest
import sentencepiece
import torch

from beit3_mm.tokenizer import Tokenizer, load_tokenizer

TEXT = 'the red circle is left of two squares'


@pytest.fixture(scope='module')
def tokenizer(tokenizer_file):
    return Tokenizer(tokenizer_file)


@pytest.fixture(scope='module')
def pieces(tokenizer_file):
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(tokenizer_file)
    )
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def train(path, **kwargs):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 5),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        **kwargs,
    )
    path.write_bytes(model.getvalue())


def test_ids_are_those_of_fairseqs_dictionary(tokenizer, pieces):
    # fairseq puts four special ids in front of the words, the mask behind.
    assert pieces[:3] == ['<unk>', '<s>', '</s>']
    dictionary = ['<s>', '<pad>', '</s>', '<unk>', *pieces[3:], '<mask>']
    assert dictionary[tokenizer.bos_id] == '<s>'
    assert dictionary[tokenizer.pad_id] == '<pad>'
    assert dictionary[tokenizer.eos_id] == '</s>'
    assert dictionary[tokenizer.unk_id] == '<unk>'
    assert dictionary[tokenizer.mask_id] == '<mask>'
    assert tokenizer.num_ids == len(dictionary) == len(pieces) + 2
    ids = tokenizer.encode(TEXT)
    text = ''.join(dictionary[i] for i in ids)
    assert text == '▁' + TEXT.replace(' ', '▁')
    assert min(ids) > tokenizer.unk_id


def test_64000_pieces_give_the_released_mask_id(tokenizer_file, monkeypatch):
    monkeypatch.setattr(
        sentencepiece.SentencePieceProcessor,
        'get_piece_size',
        lambda self: 64000,
    )
    tokenizer = Tokenizer(tokenizer_file)
    assert tokenizer.mask_id == 64001
    assert tokenizer.num_ids == 64002
    assert tokenizer.decode([64009]) == ''  # the last of 64,010 rows
    with pytest.raises(ValueError, match='id 64010 is not of'):
        tokenizer.decode([64010])


def test_decode_gives_the_text_back(tokenizer):
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT
    padded = [*tokenizer.with_special(ids, 64), tokenizer.mask_id, 1, 1]
    assert tokenizer.decode(padded) == TEXT
    assert tokenizer.decode(np.array(padded)) == TEXT
    assert tokenizer.decode(torch.tensor(padded)) == TEXT


@pytest.mark.parametrize('token', [-1, 38 + 8])
def test_ids_of_another_tokenizer_are_refused(tokenizer, token):
    with pytest.raises(ValueError, match=f'id {token} .* has 38 ids: use'):
        tokenizer.decode([4, token])


def test_batches_are_texts_one_by_one(tokenizer):
    texts = [TEXT, '', 'a blue square']
    assert tokenizer.encode_batch(texts) == [
        tokenizer.encode(text) for text in texts
    ]
    assert tokenizer.encode_batch([]) == []


@pytest.mark.parametrize('text', ['', '  ', '\n\t'])
def test_an_empty_text_has_no_ids(tokenizer, text):
    assert tokenizer.encode(text) == []
    assert tokenizer.with_special([], 64) == [0, 2]
    assert tokenizer.decode([0, 2]) == ''


def test_lacking_characters_become_unknown(tokenizer):
    red = tokenizer.encode('red')
    *before, last = tokenizer.encode('red ☃☃')
    assert before[: len(red)] == red
    assert last == tokenizer.unk_id  # one for both snowmen
    assert tokenizer.unk_id not in before
    assert tokenizer.decode(tokenizer.encode('red ☃ circle')).split() == [
        'red',
        'circle',
    ]


def test_special_pieces_in_a_text_are_characters(tokenizer):
    ids = tokenizer.encode('red </s> <mask> <s>')
    assert not {0, 1, 2, tokenizer.mask_id} & set(ids)


def test_half_a_surrogate_pair_reads_as_a_question_mark(tokenizer):
    assert tokenizer.encode('red \ud83d') == tokenizer.encode('red ?')


def test_text_is_normalised(tokenizer):
    assert tokenizer.encode('ｒｅｄ\u00a0  circle\n') == tokenizer.encode(
        'red circle'
    )


def test_very_long_text_is_cut(tokenizer):
    ids = tokenizer.encode(TEXT * 10_000)
    assert len(ids) > 50_000
    cut = tokenizer.with_special(ids, 64)
    assert cut == [0, *ids[:62], 2]
    assert tokenizer.with_special(ids[:62], 64) == cut  # just fits
    with pytest.raises(ValueError, match='max_tokens=1 must be at least 2'):
        tokenizer.with_special(ids, 1)


def test_what_is_no_text_is_refused(tokenizer):
    with pytest.raises(TypeError, match='must be a str, not NoneType: None'):
        tokenizer.encode(None)
    with pytest.raises(TypeError, match='must be a str, not float: nan'):
        tokenizer.encode_batch(['a', float('nan')])
    with pytest.raises(TypeError, match="a list of str, not 'red'"):
        tokenizer.encode_batch('red')


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no\.spm: no such.*beit3'):
        Tokenizer(tmp_path / 'no.spm')


@pytest.mark.parametrize(
    'content',
    [b'', b'<!DOCTYPE html><html>', bytes(range(256)), b'\x08\x01' * 9],
)
def test_a_foreign_file(tmp_path, content):
    path = tmp_path / 'foreign.spm'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'foreign\.spm .* is truncated'):
        Tokenizer(path)


def test_a_truncated_file(tokenizer_file, tmp_path):
    # Between two pieces too, where SentencePiece itself notices nothing.
    content = tokenizer_file.read_bytes()
    path = tmp_path / 'cut.spm'
    cuts = [*range(1, 1200), *range(1200, len(content), 20_011)]
    for cut in [*cuts, len(content) - 1]:
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r'cut\.spm .*is truncated'):
            Tokenizer(path)


def test_another_layout_is_refused(tmp_path):
    path = tmp_path / 't5.spm'
    train(path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    with pytest.raises(ValueError, match=r"<pad>', '</s>', '<unk>'\], not"):
        Tokenizer(path)


def test_it_is_loaded_once_per_process(tokenizer_file, monkeypatch):
    first = load_tokenizer(str(tokenizer_file))
    assert load_tokenizer(tokenizer_file) is first
    monkeypatch.chdir(tokenizer_file.parent)
    assert load_tokenizer(tokenizer_file.name) is first


def test_it_goes_to_worker_processes(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(TEXT) == tokenizer.encode(TEXT)
    assert copy.mask_id == tokenizer.mask_id
