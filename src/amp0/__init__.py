"""AMP0, whole and open: client, server and chain for AMP0 assets on Liquid.

The public names, in blocking form, under the names that LWK's Python module gives them::

    from amp0 import Network, Signer, Mnemonic, Amp0Connected

Each is imported when it is first asked for, so that ``import amp0`` costs nothing. The same classes written
with ``async`` are in :mod:`amp0.client` and :mod:`amp0.chain`; every error is drawn in :mod:`amp0.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amp0.blocking import (
        Amp0 as Amp0,
        Amp0Connected as Amp0Connected,
        Amp0LoggedIn as Amp0LoggedIn,
        EsploraClient as EsploraClient,
        Events as Events,
        IssuerClient as IssuerClient,
        WaterfallsClient as WaterfallsClient,
    )
    from amp0.chain.backend import Update as Update
    from amp0.client.events import (
        NewBlock as NewBlock,
        NewTransaction as NewTransaction,
        Resync as Resync,
        WalletChanged as WalletChanged,
    )
    from amp0.client.preflight import Preflight as Preflight
    from amp0.client.two_factor import (
        DisputeChallenge as DisputeChallenge,
        ResetStatus as ResetStatus,
        TwoFactorAction as TwoFactorAction,
        TwoFactorCode as TwoFactorCode,
        TwoFactorConfig as TwoFactorConfig,
        TwoFactorMethod as TwoFactorMethod,
    )
    from amp0.elements.address import (
        Address as Address,
        AddressResult as AddressResult,
    )
    from amp0.elements.block import BlockHeader as BlockHeader
    from amp0.elements.confidential import TxOutSecrets as TxOutSecrets
    from amp0.elements.descriptor import (
        Chain as Chain,
        WolletDescriptor as WolletDescriptor,
    )
    from amp0.elements.hashes import (
        BlockHash as BlockHash,
        Txid as Txid,
    )
    from amp0.elements.keys import (
        DerivationPath as DerivationPath,
        Mnemonic as Mnemonic,
        SecretKey as SecretKey,
    )
    from amp0.elements.pset import (
        Amp0Pset as Amp0Pset,
        Pset as Pset,
    )
    from amp0.elements.pset_io import (
        PsetInput as PsetInput,
        PsetIssuance as PsetIssuance,
        PsetOutput as PsetOutput,
    )
    from amp0.elements.script import Script as Script
    from amp0.elements.transaction import (
        OutPoint as OutPoint,
        Transaction as Transaction,
        TxIn as TxIn,
        TxOut as TxOut,
    )
    from amp0.errors import (
        AddressNotIssued as AddressNotIssued,
        AlteredTransaction as AlteredTransaction,
        Amp0AddressError as Amp0AddressError,
        Amp0BuildError as Amp0BuildError,
        Amp0Error as Amp0Error,
        Amp0ScanError as Amp0ScanError,
        BackendUnavailable as BackendUnavailable,
        BroadcastRejected as BroadcastRejected,
        CallFailed as CallFailed,
        ChainError as ChainError,
        ConfigError as ConfigError,
        ConnectionFailed as ConnectionFailed,
        ConnectionTimeout as ConnectionTimeout,
        CosignRefused as CosignRefused,
        DeviceNotFound as DeviceNotFound,
        ExplorerRefused as ExplorerRefused,
        InsufficientFunds as InsufficientFunds,
        InvalidAddress as InvalidAddress,
        InvalidAmounts as InvalidAmounts,
        InvalidBlock as InvalidBlock,
        InvalidDescriptor as InvalidDescriptor,
        InvalidInput as InvalidInput,
        InvalidKey as InvalidKey,
        InvalidMnemonic as InvalidMnemonic,
        InvalidPset as InvalidPset,
        InvalidTransaction as InvalidTransaction,
        InvalidUpdate as InvalidUpdate,
        IssuerRefused as IssuerRefused,
        LocalProtocolError as LocalProtocolError,
        LoginFailed as LoginFailed,
        NetworkMismatch as NetworkMismatch,
        NodeRefused as NodeRefused,
        ProtocolError as ProtocolError,
        RefusalReason as RefusalReason,
        RemoteProtocolError as RemoteProtocolError,
        ServerBusy as ServerBusy,
        SignerError as SignerError,
        StaleUpdate as StaleUpdate,
        SuspiciousIndex as SuspiciousIndex,
        TooManyInputs as TooManyInputs,
        TwoFactorLocked as TwoFactorLocked,
        TwoFactorRequired as TwoFactorRequired,
        UnblindError as UnblindError,
        UnconfirmedMove as UnconfirmedMove,
        UserCancelled as UserCancelled,
        WalletError as WalletError,
        WrongSigner as WrongSigner,
        WrongTwoFactorCode as WrongTwoFactorCode,
    )
    from amp0.issuer.treasury import NodeTreasury as NodeTreasury
    from amp0.network import Network as Network
    from amp0.wallet.details import (
        PsetBalance as PsetBalance,
        PsetDetails as PsetDetails,
        PsetSignatures as PsetSignatures,
        Recipient as Recipient,
    )
    from amp0.wallet.external import ExternalUtxo as ExternalUtxo
    from amp0.wallet.issuance import Contract as Contract
    from amp0.wallet.signer import (
        Amp0Signer as Amp0Signer,
        Amp0SignerData as Amp0SignerData,
        Bip as Bip,
        DescriptorBlindingKey as DescriptorBlindingKey,
        Signer as Signer,
        Singlesig as Singlesig,
    )
    from amp0.wallet.tx_builder import TxBuilder as TxBuilder
    from amp0.wallet.wollet import (
        WalletTx as WalletTx,
        WalletTxOut as WalletTxOut,
        Wollet as Wollet,
        WolletBuilder as WolletBuilder,
    )

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
    "amp0.blocking": (
        "Amp0",
        "Amp0Connected",
        "Amp0LoggedIn",
        "EsploraClient",
        "Events",
        "IssuerClient",
        "WaterfallsClient",
    ),
    "amp0.issuer.treasury": ("NodeTreasury",),
    "amp0.client.events": ("NewBlock", "NewTransaction", "Resync", "WalletChanged"),
    "amp0.client.preflight": ("Preflight",),
    "amp0.client.two_factor": (
        "DisputeChallenge",
        "ResetStatus",
        "TwoFactorAction",
        "TwoFactorCode",
        "TwoFactorConfig",
        "TwoFactorMethod",
    ),
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
        "IssuerRefused",
        "LocalProtocolError",
        "LoginFailed",
        "NetworkMismatch",
        "NodeRefused",
        "ProtocolError",
        "RefusalReason",
        "RemoteProtocolError",
        "ServerBusy",
        "SignerError",
        "StaleUpdate",
        "SuspiciousIndex",
        "TooManyInputs",
        "TwoFactorLocked",
        "TwoFactorRequired",
        "UnblindError",
        "UnconfirmedMove",
        "UserCancelled",
        "WalletError",
        "WrongSigner",
        "WrongTwoFactorCode",
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
