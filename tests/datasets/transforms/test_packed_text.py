# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from beit3_mm.datasets import TextCorpusDataset, seeded_random
from beit3_mm.datasets.transforms import MaskText, PackText
from beit3_mm.tokenizer import BOS_ID, EOS_ID, Tokenizer

LINES = [
    f'the {colour} circle is {side} the {other} square'
    for colour in ('red', 'green', 'blue')
    for other in ('red', 'green', 'blue', 'yellow')
    for side in ('left of', 'right of', 'above', 'below')
]


@pytest.fixture
def pack(tmp_path, tokenizer_file):
    """Packs a sample of a corpus of these files."""

    def pack(*contents, max_tokens=40, seed=0, index=0, **options):
        for number, content in enumerate(contents):
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / f'{number}.txt').write_bytes(data)
        dataset = TextCorpusDataset('*.txt', str(tmp_path), **options)
        transform = PackText(str(tokenizer_file), max_tokens)
        info = dataset.get_data_info(index)
        with seeded_random(seed):
            return transform(info), info

    return pack


@pytest.fixture
def tokenizer(tokenizer_file):
    return Tokenizer(tokenizer_file)


def test_texts_are_full_and_begin_with_lines(pack, tokenizer):
    text, starts = ' '.join(LINES), set()
    for seed in range(20):
        ids = pack('\n'.join(LINES), seed=seed, bytes_per_sample=900)[0]
        ids = ids['text_ids']
        assert ids.dtype == np.int64
        assert len(ids) == 40
        assert (ids[0], ids[-1]) == (BOS_ID, EOS_ID)
        found = text.find(tokenizer.decode(ids))
        assert found >= 0
        assert text[found:].startswith('the ')
        starts.add(found)
    assert len(starts) > 8


def test_every_window_starts_within_its_place(pack):
    content = '\n'.join(LINES)
    for index in range(0, 18):
        results, _ = pack(content, index=index, bytes_per_sample=100)
        _, byte = results['text_place'].split(', byte ')
        longest = max(map(len, LINES)) + 1
        assert index * 100 <= int(byte) < (index + 1) * 100 + longest


def test_documents_are_separated(pack, tokenizer):
    files = ['red circle\n\n \n\ngreen circle\nblue', 'square\n', '\n\nabove']
    results, _ = pack(*files, bytes_per_sample=1)
    documents, words = [], []
    for token in results['text_ids'][1:]:
        words.append(token)
        if token == EOS_ID:
            documents.append(tokenizer.decode(words))
            words = []
    assert documents == [
        'red circle',
        'green circle blue',
        'square',
        'above',
    ]


def test_a_text_that_ends_with_a_document_has_one_end(pack, tokenizer):
    length = len(tokenizer.encode('red circle'))
    for more in (0, 1):
        results, _ = pack(
            *('red circle', 'blue'),
            max_tokens=length + 2 + more,
            bytes_per_sample=1,
        )
        ids = results['text_ids'].tolist()
        assert ids == [BOS_ID, *tokenizer.encode('red circle'), EOS_ID]


def test_long_lines_begin_with_words(pack, tokenizer):
    text = ' '.join(LINES)
    for seed in range(10):
        results, _ = pack(text, seed=seed, bytes_per_sample=1000)
        found = text.find(tokenizer.decode(results['text_ids']))
        assert found == 0 or text[found - 1] == ' '


def test_characters_are_not_cut(pack):
    text = '\u5b57' * 4000
    for seed in range(6):
        results, _ = pack(text, seed=seed, bytes_per_sample=6000)
        _, byte = results['text_place'].split(', byte ')
        assert int(byte) % 3 == 0


def test_it_reads_on_where_there_are_many_blanks(pack, tokenizer):
    text = (' ' * 2000 + 'red circle\n') * 20
    results, _ = pack(text, bytes_per_sample=1)
    assert len(results['text_ids']) == 40


def test_what_cannot_be_read_is_rejected_with_its_place(pack):
    results, info = pack(b'red \xff circle', bytes_per_sample=1)
    assert results is None
    assert '0.txt, byte 0: not UTF-8 text (invalid' in info['rejected']
    assert '4 bytes on' in info['rejected']
    results, info = pack(' \n \n')
    assert results is None
    assert info['rejected'].endswith('the text is blank')


def test_behind_the_last_line_is_the_last_text(pack, tokenizer):
    content = '\n'.join(LINES) + '\n\n\n'
    size = len(content) + 2
    results, info = pack(content, index=size - 1, bytes_per_sample=1)
    assert info['text_window'] == (size - 1, size)
    assert len(results['text_ids']) == 40
    assert tokenizer.decode(results['text_ids']) in ' '.join(LINES)


def test_masks_leave_out_the_ends_of_documents():
    ids = np.array([BOS_ID, *[7, 8, EOS_ID] * 20, 9, EOS_ID])
    mask = MaskText(mask_prob=1.0, mask_special=False, mask_id=39)
    with seeded_random(0):
        results = mask(dict(text_ids=ids))
    assert results['text_mask'].sum() == 41
    assert not results['text_mask'][ids == EOS_ID].any()
    assert not results['text_mask'][0]


def test_a_length_without_room_is_refused():
    with pytest.raises(ValueError, match='max_tokens=2'):
        PackText('any.spm', 2)
