# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest

from beit3_mm.datasets import TextCorpusDataset
from beit3_mm.datasets.pretraining import TextCorpus


@pytest.fixture
def files(tmp_path):
    """Three files of text, of which the second is empty."""
    for name, text in (('a', 'one two\nthree'), ('b', ''), ('c', 'four\n')):
        (tmp_path / f'{name}.txt').write_text(text)
    return tmp_path


WHOLE = b'one two\nthree\n\nfour\n\n\n'


def test_it_reads_over_the_ends_of_files(files):
    corpus = TextCorpus([f'{files}/a.txt', f'{files}/c.txt'])
    assert corpus.size == len(WHOLE)
    for start in range(len(WHOLE) + 2):
        for size in range(len(WHOLE) + 2):
            assert corpus.read(start, size) == WHOLE[start : start + size]
    assert corpus.name(4) == f'{files}/a.txt, byte 4'
    assert corpus.name(16) == f'{files}/c.txt, byte 1'


def test_windows_cover_the_corpus(files):
    dataset = TextCorpusDataset('*.txt', str(files), bytes_per_sample=8)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['text_window'] for info in infos] == [
        (0, 8),
        (8, 16),
        (16, 22),
    ]
    assert [info['sample_idx'] for info in infos] == [0, 1, 2]
    for index in (-1, 3):
        with pytest.raises(IndexError, match='not below 3'):
            dataset.get_data_info(index)


def test_empty_files_are_left_out_and_named(files):
    dataset = TextCorpusDataset('*.txt', str(files))
    assert dataset.left_out == [f'{files}/b.txt: the file is empty']
    assert dataset.corpus.paths == [f'{files}/a.txt', f'{files}/c.txt']
    with pytest.raises(ValueError, match=r'b\.txt: all files are empty'):
        TextCorpusDataset('b.txt', str(files))


def test_a_file_of_two_patterns_counts_once(files):
    dataset = TextCorpusDataset(['c.txt', '*.txt'], str(files))
    assert dataset.corpus.paths == [f'{files}/c.txt', f'{files}/a.txt']


def test_what_cannot_be_is_named(files):
    with pytest.raises(FileNotFoundError, match=r'no text file .*\*\.text'):
        TextCorpusDataset(['a.txt', '*.text'], str(files))
    with pytest.raises(ValueError, match='bytes_per_sample=0'):
        TextCorpusDataset('a.txt', str(files), bytes_per_sample=0)
    (files / 'c.txt').write_text('four', encoding='utf-16')
    with pytest.raises(ValueError, match=r'c\.txt is in UTF-16 or UTF-32'):
        TextCorpusDataset('*.txt', str(files))
