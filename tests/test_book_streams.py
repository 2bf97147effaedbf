"""Long random streams through the compiled book and the plain-Python reference: the same trades, rejects and queues."""
import numpy as np
import pytest

from liquidity_game.book.lob import LimitOrderBook
from liquidity_game.book.reference import ReferenceBook, apply
from liquidity_game.types import Kind, Reject, Side, random_stream

MESSAGES = 1_000_000
BATCH = 50_000

# prices drift over `reach` ticks; offsets, ids and owners decide how often orders meet, collide and belong to one owner
STREAMS = {
    "busy":   dict(rule="fifo", reach=400, spread=12, ids=2_000, owners=6),
    "shared": dict(rule="pro_rata", reach=400, spread=12, ids=2_000, owners=6),
    "sparse": dict(rule="fifo", reach=90_000, spread=3_000, ids=400, owners=1),
}


def stream(n, reach, spread, ids, owners, **_):
    rng = random_stream(11, "book streams", reach, owners)
    kind = rng.choice(len(Kind), n, p=[.42, .22, .06, .06, .06, .06, .06, .06])
    centre = 100 + spread + np.abs((np.cumsum(rng.integers(-3, 4, n)) * max(1, reach // 400)) % (2 * reach) - reach)
    return np.stack([kind, rng.choice([1, -1], n), centre + rng.integers(-spread, spread + 1, n), rng.integers(1, 30, n),
                     rng.integers(1, ids, n), rng.integers(0, owners, n)], axis=1).astype(np.int64)


@pytest.mark.parametrize("name", STREAMS)
def test_a_million_messages_agree_with_the_reference(name):
    setting = STREAMS[name]
    messages = stream(MESSAGES, **setting)
    book, reference = LimitOrderBook(setting["rule"], capacity=16), ReferenceBook(setting["rule"])
    counts = np.zeros(2, int)
    for start in range(0, MESSAGES, BATCH):
        batch = messages[start:start + BATCH]
        got, expected = book.apply(batch), apply(reference, batch)
        for a, b in zip(got, expected):
            assert np.array_equal(a, b)
        counts += [len(part) for part in got]
    for rows, side in zip(book.l3(), Side):
        assert rows.tolist() == [list(row) for row in reference.level3(side)]
    assert counts.min() > MESSAGES // 100, "the stream hardly trades or is hardly refused: it tests nothing"


def test_a_wrong_tape_is_noticed():
    """The comparison above can fail: one lot moved between two fills is seen."""
    messages = stream(5_000, **STREAMS["busy"])
    trades, _ = LimitOrderBook().apply(messages)
    expected, _ = apply(ReferenceBook(), messages)
    trades[7, 3] += 1
    assert not np.array_equal(trades, expected)


def test_rejects_carry_every_reason():
    messages = stream(50_000, **STREAMS["busy"])
    messages[::97, 3], messages[1::97, 2], messages[2::97, 1], messages[3::97, 0], messages[4::97, 5] = 0, -5, 7, 99, -1
    book, reference = LimitOrderBook(), ReferenceBook()
    got, expected = book.apply(messages), apply(reference, messages)
    assert np.array_equal(got[1], expected[1]) and np.array_equal(got[0], expected[0])
    assert set(got[1][:, 2].tolist()) == set(map(int, Reject)) - {int(Reject.BOOK_FULL)}
