"""Blocks against a node's: byte for byte, and refused with any field altered."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amp0.devchain.blocks import (
    FEDERATION,
    GENESIS,
    MAX_BLOCK_WEIGHT,
    OP_TRUE,
    POLICY_ASSET,
    Block,
    build_block,
    check_block,
    coinbase,
    compact_params,
    fast_merkle_root,
    has_duplicate_tail,
    merkle_root,
    params_at,
    with_transactions,
    witness_commitment,
    witness_hash,
)
from amp0.devchain.chain import MAX_FUTURE, Chain
from amp0.elements.block import BlockHeader, DynafedParams
from amp0.elements.hashes import BlockHash, Txid, sha256d
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.errors import InvalidBlock
from amp0.network import Network
from tests.devchain.kit import BLOCKS, Clock

RAW = [bytes.fromhex(block["raw"]) for block in BLOCKS]
NOW = Block.parse(RAW[-1]).header.timestamp + 1


def test_genesis_is_the_one_every_client_expects() -> None:
    network = Network.regtest_default()
    assert GENESIS.serialize() == RAW[0]
    assert str(GENESIS.hash()) == network.genesis_hash()
    assert POLICY_ASSET[::-1].hex() == network.policy_asset()
    faucet = "12a51d3e6441abbdb3a5b35983260dec3ff457a301a24a4e76d41b0c0adfb99b"
    assert str(GENESIS.transactions[1].txid()) == faucet


@pytest.mark.parametrize("number", range(len(RAW)))
def test_a_nodes_block_is_read_and_written_byte_for_byte(number: int) -> None:
    block = Block.parse(RAW[number])
    rebuilt = Block(
        BlockHeader.parse(block.header.serialize()),
        tuple(Transaction.of(tx.version, tx.locktime, tx.vin, tx.vout) for tx in block.transactions),
    )
    assert rebuilt.serialize() == RAW[number]
    assert str(block.hash()) == BLOCKS[number]["hash"]
    assert block.header.block_height == number
    if number:
        check_block(block)


@pytest.mark.parametrize("number", range(1, len(RAW)))
def test_our_builder_makes_a_nodes_block_again(number: int) -> None:
    """Header, federation parameters, coinbase, both roots: all as the node accepted them."""
    theirs = Block.parse(RAW[number])
    ours = build_block(
        theirs.header.previous,
        number,
        theirs.header.timestamp,
        theirs.transactions[1:],
        fees=sum(tx.fee() for tx in theirs.transactions[1:]),
    )
    assert ours.serialize() == RAW[number]


def test_a_nodes_blocks_connect_in_order() -> None:
    chain = Chain(clock=Clock(NOW))
    for row, raw in zip(BLOCKS[1:], RAW[1:], strict=True):
        assert str(chain.submit_block(raw)) == row["hash"]
    assert chain.height == 32
    for number, raw in enumerate(RAW):
        block = chain.block_at(number)
        assert block is not None
        assert block.block.serialize() == raw


# -- any field altered -------------------------------------------------------------------------


def _other(value: Any) -> list[Any]:
    """Values near ``value`` of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value ^ 1, value ^ 0x80, (value + 1) % 2**31]
    if isinstance(value, bytes):
        changed = [value + b"\x00", b"\x51" if not value else value[:-1]]
        if value:
            changed.append(value[:-1] + bytes((value[-1] ^ 1,)))
            changed.append(bytes((value[0] ^ 1,)) + value[1:])
        return changed
    if isinstance(value, tuple):
        longer = [(*value, b""), (*value, b"\x51")]
        return [*longer, value[:-1], (*value[:-1], value[-1] + b"\x00")] if value else longer
    raise AssertionError(type(value))


def _altered_headers(header: BlockHeader) -> Iterator[tuple[str, BlockHeader]]:
    for each in fields(BlockHeader):
        value = getattr(header, each.name)
        if isinstance(value, DynafedParams):
            for inner in fields(DynafedParams):
                if inner.name == "kind":
                    others: list[Any] = [kind for kind in (0, 1, 2) if kind != value.kind]
                elif inner.name == "extra_root":
                    others = [b"\x01" * 32]
                else:
                    others = _other(getattr(value, inner.name))
                for other in others:
                    params = replace(value, **{inner.name: other})
                    if params.kind == 1 and len(params.extra_root) != 32:
                        params = replace(params, extra_root=bytes(32))
                    changes: dict[str, Any] = {each.name: params}
                    yield f"{each.name}.{inner.name}", replace(header, **changes)
        elif each.name == "previous":
            yield each.name, replace(header, previous=BlockHash(sha256d(value)))
        elif each.name == "merkle":
            yield each.name, replace(header, merkle=sha256d(value))
        else:
            for other in _other(value):
                yield each.name, replace(header, **{each.name: other})


def _altered_inputs(txin: TxIn) -> Iterator[tuple[str, TxIn]]:
    txid, vout = txin.prevout
    yield "prevout.txid", replace(txin, prevout=OutPoint(Txid(sha256d(txid)), vout))
    yield "prevout.vout", replace(txin, prevout=OutPoint(txid, (vout ^ 1) & 0x3FFFFFFF))
    for name in ("script_sig", "sequence_number", "is_pegin", "witness", "pegin_witness"):
        for other in _other(getattr(txin, name)):
            yield name, replace(txin, **{name: other})
    if txin.issuance is not None:
        for each in fields(txin.issuance):
            value = getattr(txin.issuance, each.name)
            changed = value[:-1] + bytes((value[-1] ^ 1,)) if value else None
            if changed is not None:
                yield each.name, replace(txin, issuance=replace(txin.issuance, **{each.name: changed}))


def _altered_outputs(txout: TxOut) -> Iterator[tuple[str, TxOut]]:
    for name in ("script", "surjection_proof", "range_proof"):
        for other in _other(getattr(txout, name)):
            yield name, replace(txout, **{name: other})
    for name in ("asset_field", "value_field", "nonce_field"):
        value = getattr(txout, name)
        yield name, replace(txout, **{name: value[:-1] + bytes((value[-1] ^ 1,)) if value else b"\x02" * 33})


def _altered_transactions(tx: Transaction) -> Iterator[tuple[str, Transaction]]:
    for name in ("version", "locktime"):
        for other in _other(getattr(tx, name)):
            parts = {"version": tx.version, "locktime": tx.locktime, name: other}
            yield name, Transaction.of(parts["version"], parts["locktime"], tx.vin, tx.vout)
    for i, txin in enumerate(tx.vin):
        for name, changed in _altered_inputs(txin):
            vin = (*tx.vin[:i], changed, *tx.vin[i + 1 :])
            yield f"vin[{i}].{name}", Transaction.of(tx.version, tx.locktime, vin, tx.vout)
    for i, txout in enumerate(tx.vout):
        for name, made in _altered_outputs(txout):
            vout = (*tx.vout[:i], made, *tx.vout[i + 1 :])
            yield f"vout[{i}].{name}", Transaction.of(tx.version, tx.locktime, tx.vin, vout)
        if len(tx.vout) > 1:
            yield f"vout[{i}] gone", Transaction.of(tx.version, tx.locktime, tx.vin, tx.vout[:i] + tx.vout[i + 1 :])


def _altered(block: Block) -> Iterator[tuple[str, Block]]:
    for name, header in _altered_headers(block.header):
        yield f"header.{name}", Block(header, block.transactions)
    transactions = block.transactions
    for i, tx in enumerate(transactions):
        for name, changed in _altered_transactions(tx):
            yield f"tx[{i}].{name}", Block(block.header, (*transactions[:i], changed, *transactions[i + 1 :]))
    yield "no transactions", Block(block.header, ())
    yield "one twice", Block(block.header, (*transactions, transactions[-1]))
    yield "coinbase last", Block(block.header, (*transactions[1:], *transactions[:1], transactions[-1]))


@pytest.mark.parametrize("number", [1, 2, 5, 9, 10, 17, 21, 32])
def test_a_block_with_any_field_altered_is_refused(number: int) -> None:
    """Every header, coinbase and transaction field, one at a time.

    Only the time may change within its bounds, because nothing else in a block depends on it:
    that makes another block, with another hash, and it is refused under the hash it had.
    """
    chain = Chain(clock=Clock(NOW))
    for raw in RAW[1:number]:
        chain.submit_block(raw)
    tip, names = chain.tip, set()
    for name, altered in _altered(Block.parse(RAW[number])):
        names.add(name)
        raw = altered.serialize()
        if raw == RAW[number]:
            continue  # a field that is not part of this kind of header
        if name != "header.timestamp":
            with pytest.raises(InvalidBlock):
                chain.submit_block(raw)
        with pytest.raises(InvalidBlock):
            chain.submit_block(raw, BlockHash(BLOCKS[number]["hash"]))
        assert chain.tip is tip, name
    expected = {"header.block_height", "header.timestamp", "header.current.signblock_script"}
    expected |= {"header.signblock_witness", "tx[0].vin[0].witness", "tx[0].vout[1].script"}
    assert expected <= names
    chain.submit_block(RAW[number], BlockHash(BLOCKS[number]["hash"]))


def test_a_block_has_bounds_on_its_time() -> None:
    clock = Clock(NOW)
    chain = Chain(clock=clock)
    for raw in RAW[1:20]:
        chain.submit_block(raw)
    block = Block.parse(RAW[20])

    def at(time: int) -> bytes:
        return Block(replace(block.header, timestamp=time), block.transactions).serialize()

    with pytest.raises(InvalidBlock, match="time-too-old"):
        chain.submit_block(at(chain.tip.median_time))
    with pytest.raises(InvalidBlock, match="time-too-new"):
        chain.submit_block(at(NOW + MAX_FUTURE + 1))
    chain.submit_block(at(chain.tip.median_time + 1))


@pytest.mark.parametrize("field", ["range_proof", "surjection_proof"])
def test_a_bad_proof_is_refused_though_roots_and_commitment_fit(field: str) -> None:
    """Whoever can alter a proof can also compute the commitment anew; the proof itself decides."""
    chain = Chain(clock=Clock(NOW))
    for raw in RAW[1:5]:
        chain.submit_block(raw)
    block = Block.parse(RAW[5])
    refused = 0
    for i, tx in enumerate(block.transactions[1:]):
        for j, txout in enumerate(tx.vout):
            proof = getattr(txout, field)
            if not proof:
                continue
            bad = replace(txout, **{field: proof[:40] + bytes((proof[40] ^ 1,)) + proof[41:]})
            vout = (*tx.vout[:j], bad, *tx.vout[j + 1 :])
            others = list(block.transactions[1:])
            others[i] = Transaction.of(tx.version, tx.locktime, tx.vin, vout)
            fees = sum(other.fee() for other in others)
            again = build_block(block.header.previous, 5, block.header.timestamp, others, fees=fees)
            check_block(again)
            with pytest.raises(InvalidBlock, match="bad-txns-in-ne-out"):
                chain.submit_block(again.serialize())
            refused += 1
    assert refused
    chain.submit_block(RAW[5])


# -- reasons -----------------------------------------------------------------------------------


def _reason(block: Block) -> str:
    with pytest.raises(InvalidBlock) as caught:
        check_block(block)
    return str(caught.value)


def test_reasons_are_the_nodes() -> None:
    block = Block.parse(RAW[5])
    first, second, *_ = block.transactions
    header = block.header
    assert _reason(Block(replace(header, header_version=0x20000001), block.transactions)).startswith(
        "bad-version(0xa0000001)"
    )
    assert _reason(Block(replace(header, signblock_witness=()), block.transactions)) == "block-proof-invalid"
    assert _reason(Block(replace(header, merkle=bytes(32)), block.transactions)) == "bad-txnmrklroot"
    assert _reason(Block(header, ())) == "bad-blk-length"
    assert _reason(with_transactions(block, [second])) == "bad-cb-missing"
    assert _reason(with_transactions(block, [first, first])) == "bad-txns-duplicate"
    assert _reason(with_transactions(block, [first, second, first])) == "bad-cb-multiple"
    short = first.replace_input(0, script_sig=b"\x55")
    assert _reason(with_transactions(block, [short, second])) == "bad-cb-length"
    wrong = first.replace_input(0, script_sig=b"\x56\x01\x01")
    assert _reason(with_transactions(block, [wrong, second])) == "bad-cb-height"
    bare = first.replace_input(0, witness=())
    assert _reason(with_transactions(block, [bare, second])) == "bad-witness-nonce-size"
    assert _reason(with_transactions(block, [first])) == "bad-witness-merkle-match"
    plain = Transaction.of(first.version, 0, [replace(first.vin[0], witness=())], first.vout[:1])
    assert _reason(with_transactions(block, [plain, second])) == "unexpected-witness"


def test_a_coinbase_pays_in_the_open_and_no_fee() -> None:
    block = Block.parse(RAW[2])
    (first,) = block.transactions
    fee = TxOut.fee(POLICY_ASSET, 1)
    hidden = replace(first.vout[0], value_field=b"\x08" + bytes(32))
    for vout, reason in (
        ((*first.vout, fee), "bad-cb-fee"),
        ((hidden, first.vout[1]), "bad-cb-amount"),
        ((replace(first.vout[0], range_proof=b"\x00"), first.vout[1]), "bad-cb-witness"),
        ((replace(first.vout[0], nonce_field=b"\x02" * 33), first.vout[1]), "bad-cb-amount"),
    ):
        altered = Transaction.of(first.version, 0, first.vin, vout)
        assert _reason(with_transactions(block, [altered])).startswith(reason)


def test_a_block_has_a_greatest_weight() -> None:
    tx = Block.parse(RAW[5]).transactions[1]
    many = [Transaction.of(2, i, tx.vin, tx.vout) for i in range(MAX_BLOCK_WEIGHT // tx.weight() + 1)]
    hashes = [witness_hash(tx)] * len(many)
    block = build_block(BlockHash(bytes(32)), 2, NOW, many, fees=0, witness_hashes=hashes)
    assert _reason(block) == "bad-blk-weight"
    check_block(build_block(BlockHash(bytes(32)), 2, NOW, many[:-2], fees=0, witness_hashes=hashes[:-2]))


# -- trees -------------------------------------------------------------------------------------


def test_compact_parameters_are_the_nodes() -> None:
    """Block 2 states compactly what block 1 states in full."""
    full = Block.parse(RAW[1]).header.current
    assert full == FEDERATION
    assert compact_params(full) == Block.parse(RAW[2]).header.current
    assert [params_at(height).kind for height in (1, 2, 9, 10, 11, 20)] == [2, 1, 1, 2, 1, 2]


def test_an_empty_tree_has_the_zero_root() -> None:
    assert merkle_root([]) == fast_merkle_root([]) == bytes(32)
    assert merkle_root([b"\x07" * 32]) == fast_merkle_root([b"\x07" * 32]) == b"\x07" * 32


def test_a_repeated_tail_is_noticed() -> None:
    """CVE-2012-2459: two lists of leaves with one root."""
    leaves = [bytes((i,)) * 32 for i in range(3)]
    assert merkle_root(leaves) == merkle_root([*leaves, leaves[2]])
    assert not has_duplicate_tail(leaves)
    assert has_duplicate_tail([*leaves, leaves[2]])


def test_the_commitment_leaves_the_coinbases_witness_out() -> None:
    draft = coinbase(7, 0, bytes(32))
    assert witness_hash(draft) == witness_hash(draft.replace_input(0, witness=()))
    assert len(witness_commitment([witness_hash(draft)])) == 32


def test_the_coinbase_burns_nothing_into_a_spendable_script() -> None:
    without, with_fees = coinbase(7, 0, bytes(32)), coinbase(7, 9, bytes(32))
    assert without.vout[0].script == b"\x6a"
    assert with_fees.vout[0].script == OP_TRUE
    assert with_fees.vout[0].explicit_value == 9


# -- parsers -----------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_truncated_block_is_refused(data: st.DataObject) -> None:
    raw = RAW[data.draw(st.sampled_from([0, 1, 2, 5, 10]))]
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(InvalidBlock):
        Block.parse(raw[:cut])


@given(st.sampled_from([0, 1, 2, 10]), st.binary(min_size=1, max_size=9))
def test_bytes_behind_a_block_are_refused(number: int, tail: bytes) -> None:
    with pytest.raises(InvalidBlock, match="follow"):
        Block.parse(RAW[number] + tail)


@given(st.binary(max_size=400))
@example(b"")
@example(bytes(80))
@settings(deadline=None)
def test_noise_is_refused_with_our_error(noise: bytes) -> None:
    with pytest.raises(InvalidBlock):
        Block.parse(noise)


@given(st.sampled_from([1, 2, 5, 10]), st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_an_error_or_another_block(number: int, data: st.DataObject) -> None:
    raw = bytearray(RAW[number])
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        block = Block.parse(bytes(raw))
    except InvalidBlock:
        return
    assert block.serialize() == bytes(raw)
    if not 68 <= position < 72:  # the time, which has bounds of its own
        with pytest.raises(InvalidBlock):
            _chain_below(number).submit_block(bytes(raw))


@functools.cache
def _chain_below(number: int) -> Chain:
    chain = Chain(clock=Clock(NOW))
    for raw in RAW[1:number]:
        chain.submit_block(raw)
    return chain
