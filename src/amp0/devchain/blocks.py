"""Blocks of a Liquid regtest chain: commitments, genesis, and how to build one.

Headers themselves are in :mod:`amp0.elements.block`. The genesis block has the older style; every
later block is of a *dynamic federation*, whose parameters it states in full at height 1 and at
every multiple of :data:`EPOCH`, and in between compactly: the block-signing script with its
limit, and a root over everything else.

The chain built here is ``liquidregtest``: anybody may sign blocks (the script is ``OP_TRUE``),
and one genesis output of 21 million coins is free for all. Source: Elements
``src/primitives/block.h``, ``src/dynafed.cpp`` and ``src/chainparams.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from amp0.elements import wally
from amp0.elements.block import DYNAFED_FLAG, BlockHeader, DynafedParams
from amp0.elements.hashes import BlockHash, sha256, sha256d
from amp0.elements.script import push, push_number
from amp0.elements.transaction import (
    COINBASE_INDEX,
    Issuance,
    OutPoint,
    Reader,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
    explicit_value_field,
    var_bytes,
)
from amp0.errors import InvalidBlock, InvalidTransaction

BLOCK_VERSION = 0x20000000
"""The version of every block after genesis, without the dynamic federation bit."""
EPOCH = 10
"""Blocks between two full statements of the federation's parameters."""
MAX_BLOCK_WEIGHT = 4_000_000
MAX_BLOCK_BYTES = 4_000_000
CHAIN_NAME = "liquidregtest"
PARENT_GENESIS = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
"""Hash of Bitcoin's regtest genesis block, internal order."""
GENESIS_TIME = 1_296_688_602
INITIAL_FREE_COINS = 2_100_000_000_000_000
OP_TRUE = b"\x51"
_COMMITMENT_MAGIC = b"\x6a\x24\xaa\x21\xa9\xed"


# -- trees of hashes ---------------------------------------------------------------------------


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Bitcoin's merkle root of 32-byte leaves; an odd last one is paired with itself."""
    row = list(leaves)
    if not row:
        return bytes(32)
    while len(row) > 1:
        if len(row) & 1:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return bytes(row[0])


def has_duplicate_tail(leaves: Sequence[bytes]) -> bool:
    """Whether two neighbours that are hashed together are equal.

    Such a list has the same root as a shorter one (CVE-2012-2459), so a block of it is refused.
    """
    row = list(leaves)
    while len(row) > 1:
        if any(row[i] == row[i + 1] for i in range(0, len(row) - 1, 2)):
            return True
        if len(row) & 1:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return False


def fast_merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Elements' fast merkle root: one SHA-256 compression a node, an odd last node moves up."""
    row = list(leaves)
    if not row:
        return bytes(32)
    while len(row) > 1:
        pairs = [wally.sha256_midstate(row[i] + row[i + 1]) for i in range(0, len(row) - 1, 2)]
        if len(row) & 1:
            pairs.append(row[-1])
        row = pairs
    return bytes(row[0])


_EMPTY_LEAF = sha256d(b"\x00")
_EMPTY_INPUT = fast_merkle_root([_EMPTY_LEAF] * 4)
_EMPTY_OUTPUT = fast_merkle_root([_EMPTY_LEAF] * 2)


def _proof_leaf(proof: bytes) -> bytes:
    return sha256d(var_bytes(proof)) if proof else _EMPTY_LEAF


def _stack_bytes(stack: Sequence[bytes]) -> bytes:
    return compact_size(len(stack)) + b"".join([var_bytes(item) for item in stack])


def _input_witness_root(txin: TxIn) -> bytes:
    issuance = txin.issuance
    if not txin.witness and not txin.pegin_witness and issuance is None:
        return _EMPTY_INPUT
    return fast_merkle_root(
        [
            _proof_leaf(issuance.amount_proof if issuance else b""),
            _proof_leaf(issuance.tokens_proof if issuance else b""),
            sha256d(_stack_bytes(txin.witness)),
            sha256d(_stack_bytes(txin.pegin_witness)),
        ]
    )


def _output_witness_root(txout: TxOut) -> bytes:
    if not txout.surjection_proof and not txout.range_proof:
        return _EMPTY_OUTPUT
    return fast_merkle_root([_proof_leaf(txout.surjection_proof), _proof_leaf(txout.range_proof)])


def witness_hash(tx: Transaction) -> bytes:
    """Root (32 bytes) over all witness data of a transaction, a coinbase's input left out."""
    inputs = [_EMPTY_INPUT] if tx.is_coinbase else [_input_witness_root(txin) for txin in tx.vin]
    outputs = [_output_witness_root(txout) for txout in tx.vout]
    return fast_merkle_root([fast_merkle_root(inputs), fast_merkle_root(outputs)])


def witness_commitment(witness_hashes: Sequence[bytes]) -> bytes:
    """What the coinbase commits to: the fast root of the transactions' roots and 32 zero bytes."""
    return sha256d(fast_merkle_root(witness_hashes) + bytes(32))


def commitment_of(coinbase: Transaction) -> bytes | None:
    """The witness commitment (32 bytes) in a coinbase; the last one counts, ``None`` when absent."""
    for txout in reversed(coinbase.vout):
        if len(txout.script) >= 38 and txout.script.startswith(_COMMITMENT_MAGIC):
            return txout.script[6:38]
    return None


# -- federation parameters ---------------------------------------------------------------------


def compact_params(full: DynafedParams) -> DynafedParams:
    """Full federation parameters in their short form: the root of what is left out."""
    extension = compact_size(len(full.extension)) + b"".join([var_bytes(e) for e in full.extension])
    root = fast_merkle_root(
        [sha256d(var_bytes(full.fedpeg_program)), sha256d(var_bytes(full.fedpeg_script)), sha256d(extension)]
    )
    return DynafedParams(1, full.signblock_script, full.signblock_witness_limit, root)


# -- blocks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A header with its transactions, the coinbase first."""

    header: BlockHeader
    transactions: tuple[Transaction, ...]
    _raw: list[bytes] = field(default_factory=list, repr=False, compare=False)

    def serialize(self) -> bytes:
        """Wire bytes."""
        if not self._raw:
            parts = [self.header.serialize(), compact_size(len(self.transactions))]
            self._raw.append(b"".join(parts + [tx.to_bytes() for tx in self.transactions]))
        return self._raw[0]

    def hash(self) -> BlockHash:
        """The block's id."""
        return self.header.block_hash()

    def weight(self) -> int:
        """BIP141 weight of the whole block; header and count weigh four a byte."""
        head = len(self.header.serialize()) + len(compact_size(len(self.transactions)))
        return 4 * head + sum(tx.weight() for tx in self.transactions)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse exactly one block. Raises :class:`InvalidBlock`."""
        raw = bytes(raw)
        if len(raw) > MAX_BLOCK_BYTES:
            raise InvalidBlock(f"{len(raw)} bytes are more than a block may hold")
        reader = Reader(raw)
        try:
            header = BlockHeader.read(reader)
            transactions = tuple([Transaction.read(reader) for _ in range(reader.count(11))])
        except (InvalidBlock, InvalidTransaction) as error:
            raise InvalidBlock(f"not a block: {error}") from None
        if reader.remaining:
            raise InvalidBlock(f"{reader.remaining} bytes follow the block")
        return cls(header, transactions, [raw])


# -- the chain's constants ---------------------------------------------------------------------

_SIGNBLOCK_SCRIPT = b"\x00\x20" + sha256(OP_TRUE)
_PAK_KEY = bytes.fromhex("02fcba7ecf41bc7e1be4ee122d9d22e3333671eb0a3a87b5cdf099d59874e1940f")
FEDERATION = DynafedParams(
    kind=2,
    signblock_script=_SIGNBLOCK_SCRIPT,
    signblock_witness_limit=74,
    fedpeg_program=b"\xa9\x14" + wally.hash160(_SIGNBLOCK_SCRIPT) + b"\x87",
    fedpeg_script=OP_TRUE,
    extension=(_PAK_KEY * 2,),
)
"""The federation of liquidregtest: block signing by anybody, no real peg."""
_COMPACT_FEDERATION = compact_params(FEDERATION)
SIGNING_WITNESS = (OP_TRUE,)
"""What satisfies the block-signing script: its own ``OP_TRUE``."""


def params_at(height: int) -> DynafedParams:
    """The current parameters a block at ``height`` (1 or more) must state."""
    return FEDERATION if height == 1 or height % EPOCH == 0 else _COMPACT_FEDERATION


def _chain_commitment() -> bytes:
    return sha256(f"{CHAIN_NAME}{OP_TRUE.hex()}{OP_TRUE.hex()}".encode("ascii"))


def _policy_asset() -> bytes:
    entropy = wally.issuance_entropy(_chain_commitment(), 0, PARENT_GENESIS)
    return wally.issuance_asset(entropy)


POLICY_ASSET = _policy_asset()
"""The asset fees are paid in (32 bytes, internal order)."""


def _genesis() -> Block:
    commitment = _chain_commitment()
    first = Transaction.of(
        1,
        0,
        [TxIn(OutPoint(bytes(32), COINBASE_INDEX), push(commitment))],
        [TxOut(b"\x6a", b"\x01" + bytes(32), explicit_value_field(0))],
    )
    issuance = Issuance(bytes(32), PARENT_GENESIS, explicit_value_field(INITIAL_FREE_COINS), explicit_value_field(0))
    free_coins = Transaction.of(
        1,
        0,
        [TxIn(OutPoint(commitment, 0), issuance=issuance)],
        [TxOut.explicit(OP_TRUE, POLICY_ASSET, INITIAL_FREE_COINS)],
    )
    header = BlockHeader(
        header_version=1,
        previous=BlockHash(bytes(32)),
        merkle=merkle_root([first.txid(), free_coins.txid()]),
        timestamp=GENESIS_TIME,
        block_height=0,
        dynafed=False,
        challenge=OP_TRUE,
    )
    return Block(header, (first, free_coins))


GENESIS = _genesis()
"""Block 0, with the free coins in its second transaction."""


# -- building ----------------------------------------------------------------------------------


def coinbase(
    height: int, fees: int, commitment: bytes, *, script: bytes = OP_TRUE, extra_nonce: int = 1
) -> Transaction:
    """The first transaction of a block.

    ``fees`` (satoshi of the policy asset) go to ``script``; without fees the output is
    unspendable. ``extra_nonce`` tells apart two blocks that are otherwise the same.
    """
    nonce = extra_nonce.to_bytes(max(1, (extra_nonce.bit_length() + 7) // 8), "little")
    txin = TxIn(
        OutPoint(bytes(32), COINBASE_INDEX),
        push_number(height) + push(nonce),
        witness=(bytes(32),),
    )
    reward = TxOut.explicit(script if fees else b"\x6a", POLICY_ASSET, fees)
    committed = TxOut.explicit(_COMMITMENT_MAGIC + commitment, POLICY_ASSET, 0)
    return Transaction.of(2, 0, [txin], [reward, committed])


def build_block(
    previous: BlockHash,
    height: int,
    time: int,
    transactions: Sequence[Transaction],
    *,
    fees: int,
    script: bytes = OP_TRUE,
    extra_nonce: int = 1,
    witness_hashes: Sequence[bytes] | None = None,
) -> Block:
    """A complete block of ``transactions`` (parents before children) on top of ``previous``.

    ``witness_hashes`` are :func:`witness_hash` of each transaction, when the caller has them.
    """
    hashes = [witness_hash(tx) for tx in transactions] if witness_hashes is None else list(witness_hashes)
    draft = coinbase(height, fees, bytes(32), script=script, extra_nonce=extra_nonce)
    commitment = witness_commitment([witness_hash(draft), *hashes])
    first = coinbase(height, fees, commitment, script=script, extra_nonce=extra_nonce)
    header = BlockHeader(
        header_version=BLOCK_VERSION,
        previous=previous,
        merkle=merkle_root([first.txid(), *(tx.txid() for tx in transactions)]),
        timestamp=time,
        block_height=height,
        dynafed=True,
        current=params_at(height),
        signblock_witness=SIGNING_WITNESS,
    )
    return Block(header, (first, *transactions))


# -- context-free rules ------------------------------------------------------------------------


def check_block(block: Block) -> None:
    """Everything about a block that needs no chain: form, merkle root, commitment, weight.

    Raises :class:`InvalidBlock` with the node's reason where it has one. What depends on the
    chain (parent, height, time, coins) is checked where the block is connected.
    """
    header, transactions = block.header, block.transactions
    if not header.dynafed:
        raise InvalidBlock("bad-dynafed: blocks after genesis carry federation parameters")
    if header.header_version != BLOCK_VERSION:
        raise InvalidBlock(f"bad-version(0x{header.header_version | DYNAFED_FLAG:08x})")
    if header.block_height < 1:
        raise InvalidBlock("bad-header-height")
    if header.current != params_at(header.block_height):
        raise InvalidBlock("invalid-dyna-fed: not the federation's current parameters")
    if header.proposed != DynafedParams():
        raise InvalidBlock("invalid-dyna-fed: this chain's federation does not change")
    if header.signblock_witness != SIGNING_WITNESS:
        raise InvalidBlock("block-proof-invalid")
    if not transactions:
        raise InvalidBlock("bad-blk-length")
    txids = [tx.txid() for tx in transactions]
    if merkle_root(txids) != header.merkle:
        raise InvalidBlock("bad-txnmrklroot")
    if has_duplicate_tail(txids):
        raise InvalidBlock("bad-txns-duplicate")
    if not transactions[0].is_coinbase:
        raise InvalidBlock("bad-cb-missing")
    if any(tx.is_coinbase for tx in transactions[1:]):
        raise InvalidBlock("bad-cb-multiple")
    _check_coinbase(header.block_height, transactions[0])
    _check_commitment(transactions)
    if block.weight() > MAX_BLOCK_WEIGHT:
        raise InvalidBlock("bad-blk-weight")


def _check_coinbase(height: int, tx: Transaction) -> None:
    script_sig = tx.vin[0].script_sig
    if not 2 <= len(script_sig) <= 100:
        raise InvalidBlock("bad-cb-length")
    if not script_sig.startswith(push_number(height)):
        raise InvalidBlock("bad-cb-height")
    if not tx.vout:
        raise InvalidBlock("bad-txns-vout-empty")
    if tx.vin[0].pegin_witness:
        raise InvalidBlock("bad-cb-witness")
    for txout in tx.vout:
        if txout.surjection_proof or txout.range_proof:
            raise InvalidBlock("bad-cb-witness")
        if txout.explicit_asset is None or txout.explicit_value is None:
            raise InvalidBlock("bad-cb-amount: a coinbase pays in the open")
        if txout.nonce_field:
            raise InvalidBlock("bad-cb-amount: a coinbase output has no nonce")
        if txout.is_fee():
            raise InvalidBlock("bad-cb-fee")


def _check_commitment(transactions: Sequence[Transaction]) -> None:
    first = transactions[0]
    committed = commitment_of(first)
    if committed is None:
        if any(tx.has_witness for tx in transactions):
            raise InvalidBlock("unexpected-witness")
        return
    if first.vin[0].witness != (bytes(32),):
        raise InvalidBlock("bad-witness-nonce-size")
    if witness_commitment([witness_hash(tx) for tx in transactions]) != committed:
        raise InvalidBlock("bad-witness-merkle-match")


def with_transactions(block: Block, transactions: Sequence[Transaction]) -> Block:
    """The block with other transactions and the merkle root they need; its hash changes."""
    root = merkle_root([tx.txid() for tx in transactions])
    return Block(replace(block.header, merkle=root), tuple(transactions))
