"""Headers, against blocks that a real node accepted."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements.block import BlockHeader, DynafedParams
from amp0.elements.hashes import BlockHash
from amp0.elements.transaction import Reader, Transaction
from amp0.errors import InvalidBlock

VECTORS = Path(__file__).parents[1] / "vectors"
BLOCKS = json.loads((VECTORS / "liquidregtest-blocks.json").read_text())["blocks"]

scripts = st.binary(max_size=300)
hashes = st.binary(min_size=32, max_size=32)
u32 = st.integers(0, 0xFFFFFFFF)
u31 = st.integers(0, 0x7FFFFFFF)
params = st.one_of(
    st.just(DynafedParams()),
    st.builds(DynafedParams, st.just(1), scripts, u32, hashes),
    st.builds(
        DynafedParams,
        st.just(2),
        scripts,
        u32,
        st.just(b""),
        scripts,
        scripts,
        st.lists(scripts, max_size=3).map(tuple),
    ),
)
headers = st.one_of(
    st.builds(BlockHeader, u31, hashes.map(BlockHash), hashes, u32, u32, st.just(False), scripts, scripts),
    st.builds(
        BlockHeader,
        u31,
        hashes.map(BlockHash),
        hashes,
        u32,
        u32,
        st.just(True),
        current=params,
        proposed=params,
        signblock_witness=st.lists(scripts, max_size=3).map(tuple),
    ),
)


def test_accepted_blocks() -> None:
    previous = None
    for height, block in enumerate(BLOCKS):
        reader = Reader(bytes.fromhex(block["hex"] if "hex" in block else block["raw"]))
        header = BlockHeader.read(reader)
        assert str(header.block_hash()) == block["hash"]
        assert header.height() == block["height"] == height
        assert header.serialize() == reader.data[: reader.pos]
        if previous is not None:
            assert header.prev_blockhash() == previous
            assert header.dynafed
            assert header.signblock_witness == (b"\x51",)
        previous = header.block_hash()
        for _ in range(reader.compact_size()):
            Transaction.read(reader)
        assert reader.remaining == 0


def test_signing_data_is_not_hashed() -> None:
    header = BlockHeader.from_string(_header_hex(1))
    assert replace(header, signblock_witness=()).block_hash() == header.block_hash()
    assert replace(header, timestamp=header.timestamp + 1).block_hash() != header.block_hash()
    genesis = BlockHeader.from_string(_header_hex(0))
    assert not genesis.dynafed
    assert genesis.challenge == b"\x51"
    assert replace(genesis, solution=b"\x51").block_hash() == genesis.block_hash()


def _header_hex(height: int) -> str:
    raw: str = BLOCKS[height].get("hex") or BLOCKS[height]["raw"]
    reader = Reader(bytes.fromhex(raw))
    BlockHeader.read(reader)
    return raw[: 2 * reader.pos]


@given(headers)
def test_round_trip(header: BlockHeader) -> None:
    assert BlockHeader.parse(header.serialize()) == header
    assert BlockHeader.from_string(str(header)) == header


@given(headers, st.data())
def test_truncated_or_longer(header: BlockHeader, data: st.DataObject) -> None:
    raw = header.serialize()
    with pytest.raises(InvalidBlock):
        BlockHeader.parse(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(InvalidBlock):
        BlockHeader.parse(raw + b"\x00")


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    with contextlib.suppress(InvalidBlock):
        assert BlockHeader.parse(raw).serialize() == raw


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    with pytest.raises(InvalidBlock):
        BlockHeader.from_string(text)
