"""AMP0, whole and open: client, server and chain for AMP0 assets on Liquid.

The public names, in blocking form, under the names that LWK's Python module gives them::

    from amp0 import Network, Signer, Mnemonic, Amp0Connected

Each is imported when it is first asked for, so that ``import amp0`` costs nothing. The same classes written
with ``async`` are in :mod:`amp0.client` and :mod:`amp0.chain`; every error is drawn in :mod:`amp0.errors`.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

#: Module → the public names it gives.
_EXPORTS = {
    "amp0.network": ("Network",),
    "amp0.elements.hashes": ("BlockHash", "Txid"),
    "amp0.elements.keys": ("DerivationPath", "Mnemonic", "SecretKey"),
    "amp0.elements.address": ("Address", "AddressResult"),
    "amp0.elements.script": ("Script",),
    "amp0.elements.descriptor": ("Chain", "WolletDescriptor"),
    "amp0.elements.transaction": ("OutPoint", "Transaction", "TxIn", "TxOut"),
    "amp0.elements.confidential": ("TxOutSecrets",),
    "amp0.elements.pset": ("Amp0Pset", "Pset"),
    "amp0.elements.pset_io": ("PsetInput", "PsetIssuance", "PsetOutput"),
    "amp0.elements.block": ("BlockHeader",),
    "amp0.chain.backend": ("Update",),
    "amp0.wallet.signer": (
        "Amp0Signer",
        "Amp0SignerData",
        "Bip",
        "DescriptorBlindingKey",
        "Signer",
        "Singlesig",
    ),
    "amp0.wallet.wollet": ("WalletTx", "WalletTxOut", "Wollet", "WolletBuilder"),
    "amp0.wallet.external": ("ExternalUtxo",),
    "amp0.wallet.issuance": ("Contract",),
    "amp0.wallet.tx_builder": ("TxBuilder",),
    "amp0.wallet.details": ("PsetBalance", "PsetDetails", "PsetSignatures", "Recipient"),
    "amp0.blocking": ("Amp0", "Amp0Connected", "Amp0LoggedIn", "EsploraClient", "WaterfallsClient"),
    "amp0.errors": (
        "AddressNotIssued",
        "AlteredTransaction",
        "Amp0AddressError",
        "Amp0BuildError",
        "Amp0Error",
        "Amp0ScanError",
        "BackendUnavailable",
        "BroadcastRejected",
        "CallFailed",
        "ChainError",
        "ConfigError",
        "ConnectionFailed",
        "ConnectionTimeout",
        "CosignRefused",
        "DeviceNotFound",
        "ExplorerRefused",
        "InsufficientFunds",
        "InvalidAddress",
        "InvalidAmounts",
        "InvalidBlock",
        "InvalidDescriptor",
        "InvalidInput",
        "InvalidKey",
        "InvalidMnemonic",
        "InvalidPset",
        "InvalidTransaction",
        "InvalidUpdate",
        "LocalProtocolError",
        "LoginFailed",
        "NetworkMismatch",
        "ProtocolError",
        "RemoteProtocolError",
        "SignerError",
        "StaleUpdate",
        "SuspiciousIndex",
        "TooManyInputs",
        "SuspiciousIndex",
        "TooManyInputs",
        "UnblindError",
        "UserCancelled",
        "WalletError",
        "WrongSigner",
    ),
}

_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import a public name from its home, once."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'amp0' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
