"""The book's speed on every workload (`pytest tests/test_benchmarks.py` prints the table), with the answer checked each time. No test depends on a time:
the comparison with C, which needs quiet turns on one core, is the notebook `nbs/tutorials/book_speed.ipynb`."""
import ctypes
import hashlib
import shutil
import subprocess
from functools import cache

import numpy as np
import pytest

from liquidity_game.book import reference
from liquidity_game.book.lob import LimitOrderBook
from liquidity_game.book.workload import SCENARIOS, STANDARD, SWINGS, public_workload, report_rows, report_text, standard_stream, swing_stream, tape_checksum
from liquidity_game.types import Kind, Side

GOLDEN = {"main": (374_560, 1_476_353, 1573437973959340289), "deep": (364_975, 1_372_496, 1499527617255612667)}  # trades, lots, checksum
REPORTS = {  # SHA-256 of the canonical reports, seed 23, published with arXiv 2606.01183
    "static": "9803843ee404fc29c9a0aa5614f8f0d5a58b5c44fcac9ef89067886fcaaa30d1",
    "normal": "e9b2e3926854410b01a035aeb25dd05f1e597c233be8263de9eb49b6713d367e",
    "swing-25": "61a84be9469661bd039e00dbc9a7c011e70b6ace37aadfe60045ea083b05f4df",
    "swing-40": "3cb0175e7982ff09ea220d1feaee3844cf9116a5ce455757879dea1d880b9b9f",
    "flash-crash": "cff8d3f94b709fc64a8b2058a6ca4fb6920364904796e46906895e362d2bb16b",
}

standard = cache(lambda name: standard_stream(**STANDARD[name]))


def replay(benchmark, stream):
    "Trades and rejects of a new book; timed over three runs after a warm-up."
    benchmark.extra_info["messages"] = len(stream)
    out = np.zeros((2*len(stream) + 8, 8), np.int64), np.zeros((len(stream), 4), np.int64)
    return benchmark.pedantic(lambda book: book.apply(stream, out=out), setup=lambda: ((LimitOrderBook(),), {}), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="standard streams, 1,000,000 messages")
@pytest.mark.parametrize("name", STANDARD)
def test_standard_stream(benchmark, name):
    trades, rejects = replay(benchmark, standard(name))
    assert (len(trades), int(trades[:, 3].sum()), tape_checksum(trades)) == GOLDEN[name]
    assert len(rejects) == 0


@pytest.mark.benchmark(group="public workload, 1,996,097 messages")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_public_workload(benchmark, scenario):
    stream = public_workload(scenario)
    trades, rejects = replay(benchmark, stream)
    assert hashlib.sha256(report_text(report_rows(stream, trades, rejects))).hexdigest() == REPORTS[scenario]


@pytest.mark.benchmark(group="swings over 100,000 ticks, about 38,000 messages")
@pytest.mark.parametrize("name", SWINGS)
def test_swings(benchmark, name):
    stream = swing_stream(20_000, **SWINGS[name])
    book = reference.ReferenceBook()
    for ours, theirs in zip(replay(benchmark, stream), reference.apply(book, stream)): np.testing.assert_array_equal(ours, theirs)


@pytest.mark.benchmark(group="one call from Python: a limit order and its cancel")
def test_two_calls(benchmark):
    book = LimitOrderBook()
    enter, leave = np.array([[Kind.LIMIT, Side.BUY, 100, 5, 1, 0]], np.int64), np.array([[Kind.CANCEL, 0, 0, 0, 1, 0]], np.int64)

    def both():
        book.apply(enter)
        return book.apply(leave)

    trades, rejects = benchmark(both)
    assert len(trades) == len(rejects) == len(book) == 0


@pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc, and the C book of the speed notebook cannot be compiled")
def test_c_reference_agrees(root, tmp_path):
    library = tmp_path/"book_reference.so"
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, root/"scripts"/"book_reference.c"], check=True)
    c, pointer, number = ctypes.CDLL(str(library)), ctypes.c_void_p, ctypes.c_int64
    c.book_init.argtypes, c.book_init.restype = [pointer, number, number, number], None
    c.book_run.argtypes, c.book_run.restype = [pointer, number, number, number, pointer, number, pointer], number
    for target, seed, levels in [(20, 1, 3), (200, 2, 10), (2_000, 3, 60)]:
        stream = standard_stream(100_000, target, seed, levels)
        memory, tape = np.zeros(4*len(stream) + 24*(2*2_002 + len(stream) + 1), np.uint8), np.zeros((2*len(stream), 8), np.int64)
        c.book_init(memory.ctypes.data, 2_000, len(stream), len(stream))
        n = c.book_run(memory.ctypes.data, 4_000, 2_000, len(stream), stream.ctypes.data, len(stream), tape.ctypes.data)
        np.testing.assert_array_equal(tape[:n], LimitOrderBook().apply(stream)[0])
