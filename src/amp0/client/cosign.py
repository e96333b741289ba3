"""What is sent to the cosigner, and the checks of what comes back.

The cosigner may do one thing to a transaction: put its signatures into the slots left for them. What it
returns is compared bit for bit with what was sent, those slots excepted, and then both signatures of each
input are verified. Nothing else is returned to the caller, so nothing else can be broadcast.
"""

from __future__ import annotations

from amp0.client.session import call_failed
from amp0.elements.descriptor import WolletDescriptor
from amp0.elements.hashes import Txid
from amp0.elements.keys import HARDENED
from amp0.elements.pset import DUMMY_SIGNATURE, Amp0Pset, CosignParts, Pset, finalize_for_cosign
from amp0.elements.script import parse_multisig_2of2
from amp0.elements.sighash import SIGHASH_ALL, SighashCache, verify
from amp0.elements.transaction import Transaction, TxOut
from amp0.errors import (
    AlteredTransaction,
    CallFailed,
    CosignRefused,
    InvalidPset,
    InvalidTransaction,
    NetworkMismatch,
    RemoteProtocolError,
    TwoFactorLocked,
    WrongSigner,
    WrongTwoFactorCode,
)
from amp0.protocol import reasons, rpc
from amp0.protocol.twofactor import INVALID_CODE

_SERVICE_SLOT, _USER_SLOT = 1, 2

RETRYABLE = frozenset(
    ("alreadysigned", "busy", "chainunavailable", "clock", "immatureinput", "internal", "policychanged",
     "shuttingdown", "storeunavailable", "toomanyattempts", "unknowninput")
)  # fmt: skip
"""Reason codes after which the same spend may pass later; over WAMP the server does not say it itself."""
POLICY = frozenset(("policy", "policychanged"))
"""Names of refusals whose text is made of reasons."""


class CosignCheck:
    """One transaction on its way to the cosigner and back."""

    def __init__(self, amp0pset: Amp0Pset, descriptor: WolletDescriptor) -> None:
        pset = amp0pset.pset()
        _require_own_input(pset, descriptor)
        self._parts: CosignParts = finalize_for_cosign(pset)
        self._spent: list[TxOut] = pset.spent_outputs()
        self.nonces = amp0pset.blinding_nonces()
        self._sent = self._parts.transaction
        self._slots = [i for i in range(len(self._sent.vin)) if self._is_slot(i)]
        self._require_user_signatures()

    def _is_slot(self, index: int) -> bool:
        witness = self._sent.vin[index].witness
        return len(witness) == 4 and DUMMY_SIGNATURE in (witness[_SERVICE_SLOT], witness[_USER_SLOT])

    def _require_user_signatures(self) -> None:
        if not self._slots:
            raise InvalidPset(
                "no input of this PSET waits for the AMP0 server's signature; it is signed already, "
                "or was not built for an AMP0 account"
            )
        for i in self._slots:
            if self._sent.vin[i].witness[_USER_SLOT] == DUMMY_SIGNATURE:
                raise WrongSigner(
                    f"input {i} is not signed by the account's user, and the AMP0 server signs last; "
                    "call signer.sign(pset) first"
                )

    @property
    def txid(self) -> Txid:
        """The transaction's id; signing does not change it."""
        return self._sent.txid()

    @property
    def hex(self) -> str:
        """The transaction as it is sent, with places for the signatures to come."""
        return str(self._sent)

    def request(self) -> bytes:
        """The body of ``POST /delayed_signature``."""
        return rpc.encode_json(
            rpc.CosignRequest(
                tx=self.hex,
                blinding_nonces=self.nonces,
                scripts=[script.hex() for script in self._parts.scripts],
            )
        )

    def accept(self, body: bytes) -> Transaction:
        """The fully signed transaction in the cosigner's answer, once it has passed every check.

        Raises :class:`CosignRefused`, :class:`AlteredTransaction` or :class:`RemoteProtocolError`.
        """
        return self.check(signed_transaction(body))

    def check(self, received: str) -> Transaction:
        """The transaction in ``received`` (hex), if it is the one sent with valid signatures added."""

        def refuse(what: str) -> AlteredTransaction:
            return AlteredTransaction(
                f"the AMP0 server returned {what}; nothing was broadcast. Keep this error's sent and received "
                "as evidence, and do not send from this account before its operator explains it",
                sent=str(self._sent),
                received=received[:1_000_000],
            )

        try:
            tx = Transaction(received)
        except InvalidTransaction:
            raise refuse("bytes that are not a transaction") from None
        if len(tx.vin) != len(self._sent.vin):
            raise refuse("a transaction with other inputs than were sent")
        expected = self._sent
        for i in self._slots:
            before, after = self._sent.vin[i].witness, tx.vin[i].witness
            if len(after) != len(before):
                raise refuse(f"another witness for input {i}")
            signed = (before[0], after[_SERVICE_SLOT], before[_USER_SLOT], before[3])
            expected = expected.replace_input(i, witness=signed)
        if expected.serialize() != tx.serialize() or tx.serialize().hex() != received.lower():
            raise refuse("a transaction that differs from the one sent")
        hashes = SighashCache(tx)
        for i in self._slots:
            script = tx.vin[i].witness[3]
            keys = parse_multisig_2of2(script)
            if keys is None:
                raise InvalidPset(f"input {i} waits for a signature in a script that is not a 2-of-2 multisig")
            digest = hashes.segwit_v0(i, script, self._spent[i].value_field, SIGHASH_ALL)
            for key, slot, whose in ((keys[0], _SERVICE_SLOT, "service"), (keys[1], _USER_SLOT, "user")):
                signature = tx.vin[i].witness[slot]
                if signature[-1:] != bytes((SIGHASH_ALL,)) or not verify(key, digest, signature[:-1]):
                    raise refuse(f"an invalid {whose} signature for input {i}")
        return tx


def signed_transaction(body: bytes) -> str:
    """The transaction (hex, unchecked) in a cosigner's answer.

    Raises :class:`CosignRefused`, :class:`TwoFactorRequired`.
    """
    reply = rpc.parse_cosign_reply(body)
    if not reply.result and reply.code == INVALID_CODE[0]:
        raise call_failed("delayed_signature", reply.code, reply.error)
    if not reply.result:
        told = tuple(map(reasons.as_told, reply.reasons or ()))
        raise CosignRefused(
            f"the AMP0 server does not sign: {reply.error or 'no reason given'}",
            code=told[0].code if told else reply.code or "",
            reasons=told or (reply.error,),
            retryable=bool(reply.retryable),
            txid=reply.txid or "",
        )
    if not reply.tx:
        raise RemoteProtocolError("the AMP0 server says it signed, and sends no transaction")
    return reply.tx


def spend_refused(error: CallFailed) -> CallFailed:
    """A refusal that came over WAMP, as the same error it is over HTTP."""
    if isinstance(error, WrongTwoFactorCode | TwoFactorLocked):
        return error
    told = reasons.parse_line(error.text) if error.name in POLICY else ()
    return CosignRefused(
        f"the AMP0 server does not sign: {error.text}",
        code=(told[0].code if told else "") or error.name,
        reasons=told or (error.text,),
        retryable=error.name in RETRYABLE,
    )


def _require_own_input(pset: Pset, descriptor: WolletDescriptor) -> None:
    """Refuse a PSET that spends nothing of the account under its pinned service key."""
    for txin in pset.inputs():
        for _, path in txin.derivations.values():
            index = path[-1] if path else 0
            if index < HARDENED and txin.witness_script == descriptor.witness_script(index):
                return
    raise NetworkMismatch(
        "no input of this PSET belongs to this account under its AMP0 service key; "
        "build it from the wollet of amp0.wollet_descriptor()"
    )
