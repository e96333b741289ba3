"""Updates as bytes, and what a scan's findings make of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.chain.backend import UNCONFIRMED, BlockHeader, ScanRequest, TxStatus, Update
from amp0.chain.findings import Findings, scan_end
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.errors import ChainError, InvalidUpdate
from amp0.network import Network

hashes = st.binary(min_size=32, max_size=32)
heights = st.integers(0, 0xFFFFFFFE)
headers = st.builds(
    BlockHeader,
    st.integers(0, 0x7FFFFFFF),
    hashes.map(BlockHash),
    hashes,
    st.integers(0, 0xFFFFFFFF),
    heights,
    st.just(False),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
statuses = st.one_of(
    st.just(UNCONFIRMED),
    st.builds(TxStatus, heights, hashes.filter(any).map(BlockHash), heights),
    st.builds(TxStatus, heights, st.none(), st.none()),
)


def transaction(seed: bytes) -> Transaction:
    return Transaction.of(2, 0, [TxIn(OutPoint(Txid(seed), 1), witness=(b"\x01",))], [TxOut.explicit(b"\x51", seed, 5)])


@st.composite
def updates(draw: st.DrawFn) -> Update:
    txs = [transaction(seed) for seed in draw(st.lists(hashes, max_size=3, unique=True))]
    others = draw(st.lists(hashes.map(Txid), max_size=3))
    return Update.of(
        base=draw(hashes),
        tip=draw(headers),
        transactions=txs,
        statuses={txid: draw(statuses) for txid in [*(tx.txid() for tx in txs), *others]},
        removed=draw(st.lists(hashes.map(Txid), max_size=3)),
        last_used=draw(st.lists(st.one_of(st.none(), heights), max_size=2)),
        to_index=draw(heights),
    )


@given(updates())
def test_round_trip(update: Update) -> None:
    again = Update(update.serialize())
    assert again == update
    assert hash(again) == hash(update)
    assert again.digest() == update.digest()
    assert (again.base, again.tip, again.removed) == (update.base, update.tip, update.removed)
    assert again.transactions == update.transactions
    assert again.statuses == update.statuses
    assert (again.last_used, again.to_index) == (update.last_used, update.to_index)


@given(updates(), st.data())
def test_truncated_or_longer(update: Update, data: st.DataObject) -> None:
    raw = update.serialize()
    with pytest.raises(InvalidUpdate):
        Update(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(InvalidUpdate):
        Update(raw + b"\x00")


@given(updates(), st.data())
def test_damaged(update: Update, data: st.DataObject) -> None:
    raw = bytearray(update.serialize())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(InvalidUpdate):
        Update(bytes(raw))


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with pytest.raises(InvalidUpdate):
        Update(raw)


def test_unknown_version() -> None:
    raw = bytearray(Update.of(base=bytes(32), tip=_header(1)).serialize())
    raw[10] = 2
    with pytest.raises(InvalidUpdate, match="version 2"):
        Update(bytes(raw))


def test_an_update_is_a_value() -> None:
    update = Update.of(base=bytes(32), tip=_header(1))
    assert update.only_tip()
    assert update == Update.of(base=bytes(32), tip=_header(1))
    assert update != Update.of(base=bytes(32), tip=_header(2))
    with pytest.raises(AttributeError):
        update.base = b""
    with pytest.raises(InvalidUpdate, match="without a status"):
        Update.of(base=bytes(32), tip=_header(1), transactions=[transaction(bytes(32))])
    assert not Update.of(base=bytes(32), tip=_header(1), removed=[Txid(bytes(32))]).only_tip()


# -- findings ---------------------------------------------------------------------------------


def _header(height: int) -> BlockHeader:
    return BlockHeader(1, BlockHash(bytes(32)), bytes(32), 1000 + height, height, False)


def _request(**fields: object) -> ScanRequest:
    defaults: dict[str, object] = {
        "network": Network.regtest_default(),
        "is_amp0": True,
        "chains": 1,
        "script": lambda chain, index: b"",
        "to_index": 0,
        "descriptor": "d",
        "known": {},
        "last_used": (None,),
    }
    return ScanRequest(**{**defaults, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amp0", "to_index", "last", "end"),
    [
        (True, 0, None, 41),
        (True, 19, None, 41),
        (True, 20, 3, 41),
        (True, 300, 3, 321),
        (True, 300, 310, 331),
        (False, 0, None, 20),
        (False, 0, 0, 21),
        (False, 0, 39, 60),
        (False, 100, None, 121),
    ],
)
def test_scan_end(amp0: bool, to_index: int, last: int | None, end: int) -> None:
    assert scan_end(_request(is_amp0=amp0, to_index=to_index), last) == end


TX = transaction(b"\x05" * 32)
BLOCK = BlockHash(b"\x07" * 32)


def test_nothing_new_is_no_update() -> None:
    status = TxStatus(3, BLOCK, 9)
    findings = Findings(_request(known={TX.txid(): status}, tip=_header(5), last_used=(2,)))
    assert not findings.add(0, 2, TX.txid(), status)
    assert findings.update(_header(5)) is None
    update = findings.update(_header(6))
    assert update is not None
    assert update.only_tip()


def test_new_changed_and_gone() -> None:
    gone, moved = Txid(b"\x01" * 32), Txid(b"\x02" * 32)
    findings = Findings(_request(known={gone: UNCONFIRMED, moved: UNCONFIRMED}, tip=_header(5)))
    assert findings.add(0, 1, TX.txid(), UNCONFIRMED)
    findings.take(TX.txid(), TX.to_bytes())
    assert not findings.add(0, 4, moved, TxStatus(5, BLOCK, 9))
    update = findings.update(_header(5))
    assert update is not None
    assert update.transactions == (TX,)
    assert update.statuses == {TX.txid(): UNCONFIRMED, moved: TxStatus(5, BLOCK, 9)}
    assert update.removed == (gone,)
    assert update.last_used == (4,)
    findings.keep.add(gone)
    assert findings.update(_header(5)).removed == ()  # type: ignore[union-attr]


def test_a_block_between_two_histories() -> None:
    """One address was asked before a block came, another after: the later answer counts."""
    findings = Findings(_request())
    findings.add(0, 1, TX.txid(), UNCONFIRMED)
    findings.add(0, 2, TX.txid(), TxStatus(5, BLOCK, 9))
    findings.add(0, 3, TX.txid(), UNCONFIRMED)
    assert findings.seen[TX.txid()] == TxStatus(5, BLOCK, 9)


def test_headers_fill_in_times_and_are_compared() -> None:
    header = _header(5)
    findings = Findings(_request())
    findings.add(0, 1, TX.txid(), TxStatus(5, header.block_hash()))
    assert findings.missing_timestamps() == {header.block_hash()}
    findings.add_headers({header.block_hash(): header})
    assert findings.seen[TX.txid()].timestamp == 1005
    assert findings.missing_timestamps() == set()
    other = Findings(_request())
    other.add(0, 1, TX.txid(), TxStatus(6, header.block_hash()))
    with pytest.raises(ChainError, match="height 6"):
        other.add_headers({header.block_hash(): header})


def test_bytes_that_are_no_transaction() -> None:
    with pytest.raises(ChainError, match="are none"):
        Findings.check(TX.txid(), b"\x00")
    with pytest.raises(ChainError, match="asked for transaction"):
        Findings.check(Txid(bytes(32)), TX.to_bytes())
