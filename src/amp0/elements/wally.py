"""The only importer of wallycore; its failures become ours.

Two doors lead to the same shared library:

* the ``wallycore`` module, for everything that takes microseconds. Its calls hold Python's
  interpreter lock.
* ``ctypes`` on the very same file, for what takes milliseconds (range proofs: making, opening,
  verifying) and for what the module does not offer (checking range and surjection proofs and the
  balance of a transaction). These calls release the lock, so two threads use two cores and an
  event loop keeps running.

The second door is not a promised interface of the wheel, so :func:`self_test` proves it before
the first verification: a good proof has to pass and a tampered one has to fail. Windows wheels
export only the ``wally_*`` names; there opening and making proofs work and verifying reports
:class:`~amp0.errors.ConfigError`.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

import _wallycore  # type: ignore[import-not-found]
import wallycore as _w

from amp0.errors import ConfigError, InvalidAmounts, InvalidKey, UnblindError

FLAG_ECDSA = _w.EC_FLAG_ECDSA
FLAG_GRIND_R = _w.EC_FLAG_GRIND_R
RANGEPROOF_MAX = _w.ASSET_RANGEPROOF_MAX_LEN
MAX_SURJECTION_INPUTS = 256
ZERO32 = bytes(32)
# The module raises ValueError for arguments it does not like and RuntimeError for what then fails.
_FAILURES = (ValueError, RuntimeError)


# -- hashes, scalars and plain keys ----------------------------------------------------------


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, 20 bytes."""
    return bytes(_w.hash160(data))


def sha256_midstate(data: bytes) -> bytes:
    """One SHA-256 compression of 64 bytes without padding, 32 bytes: Elements' fast merkle node."""
    return bytes(_w.sha256_midstate(data))


def is_private_key(key: bytes) -> bool:
    """Whether ``key`` is 32 bytes, not zero and below the curve order."""
    if len(key) != 32:
        return False
    try:
        _w.ec_private_key_verify(key)
    except _FAILURES:
        return False
    return True


def is_public_key(key: bytes) -> bool:
    """Whether ``key`` is a compressed point on the curve."""
    if len(key) != 33:
        return False
    try:
        _w.ec_public_key_verify(key)
    except _FAILURES:
        return False
    return True


def public_key(private_key: bytes) -> bytes:
    """The compressed public key (33 bytes). Raises :class:`InvalidKey`."""
    try:
        return bytes(_w.ec_public_key_from_private_key(private_key))
    except _FAILURES:
        raise InvalidKey("not a private key") from None


def ecdsa_sign(private_key: bytes, digest: bytes, *, low_r: bool = True) -> bytes:
    """An RFC 6979 signature of a 32-byte digest: DER, low S, and low R when asked for."""
    flags = FLAG_ECDSA | FLAG_GRIND_R if low_r else FLAG_ECDSA
    try:
        return bytes(_w.ec_sig_to_der(_w.ec_sig_from_bytes(private_key, digest, flags)))
    except _FAILURES:
        raise InvalidKey("not a private key, or not a 32-byte digest") from None


def ecdsa_verify(pubkey: bytes, digest: bytes, der: bytes) -> bool:
    """Whether ``der`` is a strict-DER, low-S signature of ``digest`` by ``pubkey``.

    Any other encoding of a valid signature counts as no signature.
    """
    try:
        compact = _w.ec_sig_from_der(der)
        if bytes(_w.ec_sig_to_der(compact)) != der or bytes(_w.ec_sig_normalize(compact)) != bytes(compact):
            return False
        _w.ec_sig_verify(pubkey, digest, FLAG_ECDSA, compact)
    except _FAILURES:
        return False
    return True


def ecdsa_sign_recoverable(private_key: bytes, digest: bytes) -> bytes:
    """A compact signature of a 32-byte digest with its recovery byte in front (65 bytes): for signed messages."""
    try:
        return bytes(_w.ec_sig_from_bytes(private_key, digest, FLAG_ECDSA | _w.EC_FLAG_RECOVERABLE))
    except _FAILURES:
        raise InvalidKey("not a private key, or not a 32-byte digest") from None


def ecdsa_recover(signature: bytes, digest: bytes) -> bytes | None:
    """The public key (33 bytes) that made a recoverable signature, ``None`` if no key can have made it."""
    try:
        return bytes(_w.ec_sig_to_public_key(digest, signature))
    except _FAILURES:
        return None


def ecdsa_is_strict(der: bytes) -> bool:
    """Whether ``der`` is a strict-DER, low-S encoding of some signature."""
    try:
        compact = _w.ec_sig_from_der(der)
        return bool(bytes(_w.ec_sig_to_der(compact)) == der and bytes(_w.ec_sig_normalize(compact)) == bytes(compact))
    except _FAILURES:
        return False


# -- confidential transactions, cheap half ----------------------------------------------------


def ecdh_nonce_hash(pubkey: bytes, private_key: bytes) -> bytes:
    """SHA-256 of the ECDH secret (32 bytes): the nonce that rewinds a range proof."""
    try:
        return bytes(_w.ecdh_nonce_hash(pubkey, private_key))
    except _FAILURES:
        raise InvalidKey("not a key pair for a shared nonce") from None


def asset_generator(asset: bytes, abf: bytes | None) -> bytes:
    """The 33-byte generator of ``asset`` under ``abf`` (``None`` or zeros: unblinded)."""
    try:
        return bytes(_w.asset_generator_from_bytes(asset, None if abf == ZERO32 else abf))
    except _FAILURES:
        raise InvalidAmounts("not an asset id and blinding factor") from None


def value_commitment(satoshi: int, vbf: bytes, generator: bytes) -> bytes:
    """The 33-byte commitment to ``satoshi`` under ``vbf`` on ``generator``."""
    try:
        return bytes(_w.asset_value_commitment(satoshi, vbf, generator))
    except _FAILURES:
        raise InvalidAmounts("not an amount and blinding factor") from None


def final_vbf(values: list[int], n_inputs: int, abfs: bytes, vbfs: bytes) -> bytes:
    """The value blinding factor of the last output that makes everything balance (32 bytes).

    ``values`` are inputs then outputs, ``abfs`` one factor each, ``vbfs`` one fewer.
    """
    try:
        return bytes(_w.asset_final_vbf(values, n_inputs, abfs, vbfs))
    except _FAILURES:
        raise InvalidAmounts("the last blinding factor cannot be computed") from None


def explicit_value_proof(satoshi: int, nonce: bytes, vbf: bytes, commitment: bytes, generator: bytes) -> bytes:
    """A small proof that ``commitment`` holds exactly ``satoshi`` (about 73 bytes)."""
    try:
        return bytes(_w.explicit_rangeproof(satoshi, nonce, vbf, commitment, generator))
    except _FAILURES:
        raise InvalidAmounts("the explicit value proof cannot be made") from None


def explicit_value_proof_verify(proof: bytes, satoshi: int, commitment: bytes, generator: bytes) -> bool:
    """Whether the proof of :func:`explicit_value_proof` holds."""
    try:
        _w.explicit_rangeproof_verify(proof, satoshi, commitment, generator)
    except _FAILURES:
        return False
    return True


def explicit_asset_proof(asset: bytes, abf: bytes, generator: bytes) -> bytes:
    """A small proof that ``generator`` blinds ``asset`` (67 bytes)."""
    try:
        return bytes(_w.explicit_surjectionproof(asset, abf, generator))
    except _FAILURES:
        raise InvalidAmounts("the explicit asset proof cannot be made") from None


def explicit_asset_proof_verify(proof: bytes, asset: bytes, generator: bytes) -> bool:
    """Whether the proof of :func:`explicit_asset_proof` holds."""
    try:
        _w.explicit_surjectionproof_verify(proof, asset, generator)
    except _FAILURES:
        return False
    return True


def issuance_entropy(txid: bytes, vout: int, contract_hash: bytes) -> bytes:
    """Entropy of a new asset from the spent outpoint (internal order) and a contract hash."""
    return bytes(_w.tx_elements_issuance_generate_entropy(txid, vout, contract_hash))


def issuance_asset(entropy: bytes) -> bytes:
    """Asset id (internal order) of an entropy."""
    return bytes(_w.tx_elements_issuance_calculate_asset(entropy))


def issuance_token(entropy: bytes, blinded: bool) -> bytes:
    """Reissuance token id (internal order); ``blinded`` when the issued amount is a commitment."""
    flag = _w.WALLY_TX_FLAG_BLINDED_INITIAL_ISSUANCE if blinded else 0
    return bytes(_w.tx_elements_issuance_calculate_reissuance_token(entropy, flag))


# -- the second door --------------------------------------------------------------------------

_lib = ctypes.CDLL(_wallycore.__file__)
_BYTES = c_char_p
_OK = 0


def _bind(name: str, restype: Any, *argtypes: Any) -> Any:
    function = getattr(_lib, name)
    function.restype = restype
    function.argtypes = argtypes
    return function


_unblind_with_nonce = _bind(
    "wally_asset_unblind_with_nonce", c_int,
    _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t,
    _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, POINTER(c_uint64),
)  # fmt: skip
_rangeproof_with_nonce = _bind(
    "wally_asset_rangeproof_with_nonce", c_int,
    c_uint64, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t,
    _BYTES, c_size_t, _BYTES, c_size_t, c_uint64, c_int, c_uint, _BYTES, c_size_t, POINTER(c_size_t),
)  # fmt: skip
_surjectionproof = _bind(
    "wally_asset_surjectionproof", c_int,
    _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t,
    _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, _BYTES, c_size_t, POINTER(c_size_t),
)  # fmt: skip


def unblind_with_nonce(
    nonce: bytes, proof: bytes, commitment: bytes, script: bytes, generator: bytes
) -> tuple[int, bytes, bytes, bytes]:
    """Rewind a range proof: (satoshi, asset, abf, vbf). Releases the interpreter lock.

    A rewind also verifies the proof. Whether the result reproduces the commitments is the
    caller's check. Raises :class:`UnblindError`.
    """
    asset, abf, vbf = (ctypes.create_string_buffer(32) for _ in range(3))
    value = c_uint64()
    code = _unblind_with_nonce(
        nonce, len(nonce), proof, len(proof), commitment, len(commitment), script or None, len(script),
        generator, len(generator), asset, 32, abf, 32, vbf, 32, byref(value),
    )  # fmt: skip
    if code != _OK:
        raise UnblindError("the range proof does not open with this key or nonce")
    return value.value, asset.raw, abf.raw, vbf.raw


def rangeproof(
    satoshi: int, nonce: bytes, asset: bytes, abf: bytes, vbf: bytes, commitment: bytes,
    script: bytes, generator: bytes, *, minimum: int = 1, bits: int = 52,
) -> bytes:  # fmt: skip
    """A range proof that ``nonce`` rewinds (4,174 bytes at 52 bits). Releases the lock."""
    out = ctypes.create_string_buffer(RANGEPROOF_MAX)
    written = c_size_t()
    code = _rangeproof_with_nonce(
        satoshi, nonce, 32, asset, 32, abf, 32, vbf, 32, commitment, 33, script or None, len(script),
        generator, 33, minimum, 0, bits, out, RANGEPROOF_MAX, byref(written),
    )  # fmt: skip
    if code != _OK:
        raise InvalidAmounts("the range proof cannot be made")
    return out.raw[: written.value]


def surjectionproof(
    asset: bytes, abf: bytes, generator: bytes, entropy: bytes, assets: bytes, abfs: bytes, generators: bytes
) -> bytes | None:
    """A proof that ``generator`` blinds one of ``assets``; ``None`` when this entropy found none."""
    out = ctypes.create_string_buffer(8258)
    written = c_size_t()
    code = _surjectionproof(
        asset, 32, abf, 32, generator, 33, entropy, 32,
        assets, len(assets), abfs, len(abfs), generators, len(generators),
        out, len(out), byref(written),
    )  # fmt: skip
    return out.raw[: written.value] if code == _OK else None


class _Verifier:
    """secp256k1-zkp's verifying functions, bound once per process."""

    def __init__(self) -> None:
        try:
            self.context = _bind("secp256k1_context_create", c_void_p, c_uint)(0x301)
            self.generator_parse = _bind("secp256k1_generator_parse", c_int, c_void_p, _BYTES, _BYTES)
            self.generator_generate = _bind("secp256k1_generator_generate", c_int, c_void_p, _BYTES, _BYTES)
            self.commitment_parse = _bind("secp256k1_pedersen_commitment_parse", c_int, c_void_p, _BYTES, _BYTES)
            self.commit = _bind("secp256k1_pedersen_commit", c_int, c_void_p, _BYTES, _BYTES, c_uint64, _BYTES)
            self.tally = _bind(
                "secp256k1_pedersen_verify_tally", c_int,
                c_void_p, POINTER(c_void_p), c_size_t, POINTER(c_void_p), c_size_t,
            )  # fmt: skip
            self.rangeproof_verify = _bind(
                "secp256k1_rangeproof_verify", c_int,
                c_void_p, POINTER(c_uint64), POINTER(c_uint64), _BYTES, _BYTES, c_size_t,
                _BYTES, c_size_t, _BYTES,
            )  # fmt: skip
            self.surjection_parse = _bind("secp256k1_surjectionproof_parse", c_int, c_void_p, _BYTES, _BYTES, c_size_t)
            self.surjection_verify = _bind(
                "secp256k1_surjectionproof_verify", c_int, c_void_p, _BYTES, _BYTES, c_size_t, _BYTES
            )
        except AttributeError:
            raise ConfigError(
                "this build of wallycore does not export the proof verifiers (Windows wheels do not); "
                "run the chain or the server on Linux or macOS"
            ) from None


_verifier_lock = threading.Lock()
_verifier: _Verifier | None = None


def _verifying() -> _Verifier:
    global _verifier
    if _verifier is None:
        with _verifier_lock:
            if _verifier is None:
                candidate = _Verifier()
                self_test(candidate)
                _verifier = candidate
    return _verifier


@functools.lru_cache(maxsize=4096)
def _explicit_generator(asset: bytes) -> bytes:
    verifier = _verifier or _Verifier()
    out = ctypes.create_string_buffer(64)
    if not verifier.generator_generate(verifier.context, out, asset):
        raise InvalidAmounts("an asset id has no generator")
    return out.raw


def generator_from_field(field: bytes) -> bytes:
    """libsecp256k1's 64-byte generator of an asset field. Raises :class:`InvalidAmounts`."""
    if len(field) != 33:
        raise InvalidAmounts("an asset field is missing")
    if field[0] == 1:
        return _explicit_generator(field[1:])
    verifier = _verifying()
    out = ctypes.create_string_buffer(64)
    if not verifier.generator_parse(verifier.context, out, field):
        raise InvalidAmounts("an asset commitment is not a point of the curve")
    return out.raw


def commitment_from_field(field: bytes, generator: bytes) -> bytes:
    """libsecp256k1's 64-byte commitment of a value field on a 64-byte generator."""
    verifier = _verifying()
    out = ctypes.create_string_buffer(64)
    if len(field) == 33:
        if not verifier.commitment_parse(verifier.context, out, field):
            raise InvalidAmounts("a value commitment is not a point of the curve")
    elif len(field) == 9:
        satoshi = int.from_bytes(field[1:], "big")
        if not verifier.commit(verifier.context, out, ZERO32, satoshi, generator):
            raise InvalidAmounts("an explicit amount cannot be committed to")
    else:
        raise InvalidAmounts("a value field is missing")
    return out.raw


def verify_tally(left: list[bytes], right: list[bytes]) -> bool:
    """Whether the commitments (64 bytes each) on both sides sum to the same point."""
    verifier = _verifying()

    def pointers(items: list[bytes]) -> tuple[Any, list[Any]]:
        buffers = [ctypes.create_string_buffer(item, 64) for item in items]
        return (c_void_p * max(1, len(items)))(*[ctypes.addressof(b) for b in buffers]), buffers

    ins, keep_in = pointers(left)
    outs, keep_out = pointers(right)
    result = verifier.tally(verifier.context, ins, len(left), outs, len(right))
    del keep_in, keep_out
    return bool(result)


def rangeproof_verify(proof: bytes, commitment: bytes, script: bytes, generator: bytes) -> bool:
    """Whether a range proof holds for a 64-byte commitment and generator. Releases the lock."""
    verifier = _verifying()
    low, high = c_uint64(), c_uint64()
    return bool(
        verifier.rangeproof_verify(
            verifier.context, byref(low), byref(high), commitment, proof, len(proof),
            script, len(script), generator,
        )
    )  # fmt: skip


def surjectionproof_verify(proof: bytes, domain: list[bytes], generator: bytes) -> bool:
    """Whether a surjection proof holds: ``generator`` blinds one of ``domain`` (64 bytes each)."""
    if len(domain) > MAX_SURJECTION_INPUTS:
        return False
    verifier = _verifying()
    parsed = ctypes.create_string_buffer(16384)
    if not verifier.surjection_parse(verifier.context, parsed, proof, len(proof)):
        return False
    return bool(verifier.surjection_verify(verifier.context, parsed, b"".join(domain), len(domain), generator))


def self_test(verifier: _Verifier | None = None) -> None:
    """Prove that the verifiers of this build tell a good proof from a bad one.

    Raises :class:`ConfigError` when they do not: nothing may be verified with such a build.
    """
    checker = verifier or _Verifier()
    asset, abf, vbf, nonce = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32
    generator = asset_generator(asset, abf)
    commitment = value_commitment(12345, vbf, generator)
    proof = rangeproof(12345, nonce, asset, abf, vbf, commitment, b"\x51", generator, bits=8)
    g64, c64 = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    checker.generator_parse(checker.context, g64, generator)
    checker.commitment_parse(checker.context, c64, commitment)
    low, high = c_uint64(), c_uint64()

    def holds(candidate: bytes, script: bytes) -> bool:
        return bool(
            checker.rangeproof_verify(
                checker.context, byref(low), byref(high), c64, candidate, len(candidate),
                script, len(script), g64,
            )
        )  # fmt: skip

    tampered = proof[:-1] + bytes((proof[-1] ^ 1,))
    if not holds(proof, b"\x51") or holds(tampered, b"\x51") or holds(proof, b"\x52"):
        raise ConfigError("the proof verifiers of this wallycore build do not work; do not use it")


# -- keys and addresses ------------------------------------------------------------------------


def tweak_public_key(pubkey: bytes, tweak: bytes) -> bytes:
    """``pubkey + tweak·G`` (33 bytes): the step of BIP32 public derivation. Raises :class:`InvalidKey`."""
    try:
        return bytes(_w.ec_public_key_tweak(pubkey, tweak))
    except _FAILURES:
        raise InvalidKey("this child of the key does not exist; use the next one") from None


def add_private_keys(first: bytes, second: bytes) -> bytes:
    """The sum of two scalars modulo the curve order (32 bytes). Raises :class:`InvalidKey`."""
    try:
        return bytes(_w.ec_scalar_add(first, second))
    except _FAILURES:
        raise InvalidKey("this child of the key does not exist; use the next one") from None


def elip150_blinding_key(view_key: bytes, script: bytes) -> bytes:
    """ELIP150: the private blinding key of an output script under a plain view key (32 bytes)."""
    try:
        return bytes(_w.elip150_private_key_to_ec_private_key(view_key, script))
    except _FAILURES:
        raise InvalidKey("not a view key") from None


def base58check_encode(data: bytes) -> str:
    """Base58 with a four-byte checksum."""
    return str(_w.base58_from_bytes(data, _w.BASE58_FLAG_CHECKSUM))


def base58check_decode(text: str) -> bytes | None:
    """The bytes of a Base58Check text, checksum removed; ``None`` when it is none."""
    if not text.isascii() or not 5 <= len(text) <= 256:
        return None
    try:
        return bytes(_w.base58_to_bytes(text, _w.BASE58_FLAG_CHECKSUM))
    except _FAILURES:
        return None


def segwit_address(script: bytes, prefix: str) -> str | None:
    """Bech32 or bech32m address of a witness program, ``None`` for other scripts."""
    try:
        return str(_w.addr_segwit_from_bytes(script, prefix, 0))
    except _FAILURES:
        return None


def segwit_address_script(text: str, prefix: str) -> bytes | None:
    """The script of a bech32 or bech32m address with this prefix, ``None`` for other texts."""
    if not text.isascii():
        return None
    try:
        return bytes(_w.addr_segwit_to_bytes(text, prefix, 0))
    except _FAILURES:
        return None


def blech32_address(plain: str, prefix: str, blech32_prefix: str, blinding_pubkey: bytes) -> str:
    """The confidential form of a segwit address. Raises :class:`InvalidKey`."""
    try:
        return str(_w.confidential_addr_from_addr_segwit(plain, prefix, blech32_prefix, blinding_pubkey))
    except _FAILURES:
        raise InvalidKey("not a blinding public key for this address") from None


def blech32_parts(text: str, blech32_prefix: str, prefix: str) -> tuple[str, bytes] | None:
    """Plain address and blinding public key of a blech32 address, ``None`` for other texts."""
    if not text.isascii():
        return None
    try:
        plain = str(_w.confidential_addr_to_addr_segwit(text, blech32_prefix, prefix))
        return plain, bytes(_w.confidential_addr_segwit_to_ec_public_key(text, blech32_prefix))
    except _FAILURES:
        return None


@functools.cache
def bip39_words() -> tuple[str, ...]:
    """The 2,048 English words of BIP39, in order."""
    wordlist = _w.bip39_get_wordlist("en")
    return tuple(str(_w.bip39_get_word(wordlist, index)) for index in range(2048))


_scrypt = _bind(
    "wally_scrypt", c_int,
    _BYTES, c_size_t, _BYTES, c_size_t, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, _BYTES, c_size_t,
)  # fmt: skip


def scrypt(password: bytes, salt: bytes, *, n: int, r: int, p: int, length: int) -> bytes:
    """scrypt. A quarter faster than :func:`hashlib.scrypt`, and like it releases the interpreter lock."""
    out = ctypes.create_string_buffer(length)
    if _scrypt(password, len(password), salt, len(salt), n, r, p, out, length) != _OK:
        raise InvalidKey("scrypt refuses these parameters")
    return out.raw
