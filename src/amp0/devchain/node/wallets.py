"""The node's wallets by name: the first one has none and is there from the start, others are made and loaded."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amp0.devchain.chain import Chain
from amp0.devchain.node.raw_calls import RawCalls
from amp0.devchain.node.rpc import Method
from amp0.devchain.node.store import Store
from amp0.devchain.node.values import (
    INVALID_PARAMETER,
    TYPE_ERROR,
    WALLET_ALREADY_LOADED,
    WALLET_ERROR,
    WALLET_NOT_FOUND,
    WALLET_NOT_SPECIFIED,
    Json,
    RpcError,
    flag,
    text,
)
from amp0.devchain.node.wallet import NodeWallet
from amp0.devchain.node.wallet_calls import WalletCalls
from amp0.network import Network

_UNLOAD = "unloadwallet"
_UNKNOWN = "Requested wallet does not exist or is not loaded"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_NONE = (
    "No wallet is loaded. Load a wallet using loadwallet or create a new one with createwallet. "
    "(Note: A default wallet is no longer automatically created)"
)
_MANY = (
    "Multiple wallets are loaded. Please select which wallet to use by requesting the RPC through the "
    "/wallet/<walletname> URI path."
)


class Wallets:
    """All wallets of a node, each with keys of its own. ``folder`` keeps them; without one they are in memory."""

    def __init__(self, chain: Chain, network: Network, folder: Path | None, random: Callable[[int], bytes]) -> None:
        self._chain = chain
        self._network = network
        self._folder = folder
        self._random = random
        self._lock = threading.Lock()
        self._stores: dict[str, Store] = {}
        self._wallets: dict[str, NodeWallet] = {}
        self._loaded: dict[str, Mapping[str, Callable[..., Any]]] = {}
        self._calls: dict[str, Callable[..., Any]] = {
            "createwallet": self.createwallet,
            "loadwallet": self.loadwallet,
            "listwallets": self.listwallets,
            "listwalletdir": self.listwalletdir,
        }
        self.first = self._load("")
        """The wallet without a name."""
        self.names = frozenset((*self._calls, _UNLOAD, *self._loaded[""]))
        """Of all calls about wallets and of wallets."""
        for name in self._known():
            if name and self._store(name).kept.load_on_startup:
                self._load(name)

    @property
    def is_new(self) -> bool:
        """Whether the wallet without a name was made now."""
        return self._stores[""].is_new

    def method(self, name: str, selected: str | None) -> Method | None:
        """A call about wallets, or of the ``selected`` one (``None`` where the path names none: there must be only one
        then); ``None`` for no such call. Raises :class:`RpcError` when there is no such wallet."""
        call = self._calls.get(name)
        if call is not None:
            return Method(name, call)
        if name == _UNLOAD:
            return Method(name, functools.partial(self._unload, selected))
        if name not in self.names:
            return None
        with self._lock:
            if selected is None and len(self._loaded) == 1:
                (selected,) = self._loaded
            if selected is None:
                code, message = (WALLET_NOT_SPECIFIED, _MANY) if self._loaded else (WALLET_NOT_FOUND, _NONE)
                raise RpcError(code, message)
            found = self._loaded.get(selected)
        if found is None:
            raise RpcError(WALLET_NOT_FOUND, _UNKNOWN)
        return Method(name, found[name])

    # -- calls -------------------------------------------------------------------------------

    def createwallet(
        self,
        wallet_name: object,
        disable_private_keys: object = False,
        blank: object = False,
        passphrase: object = "",
        avoid_reuse: object = False,
        descriptors: object = True,
        load_on_startup: object = None,
        external_signer: object = False,
    ) -> Json:
        """Make and load an empty wallet with keys of its own. Other kinds are refused."""
        name = text("wallet_name", wallet_name)
        strange = {"disable_private_keys": disable_private_keys, "blank": blank, "avoid_reuse": avoid_reuse}
        strange |= {"external_signer": external_signer}
        asked = [one for one, value in strange.items() if flag(one, value)]
        if asked or text("passphrase", passphrase) or not flag("descriptors", descriptors):
            raise RpcError(WALLET_ERROR, "this node makes plain wallets with keys in the open: leave the options out")
        starts = False if load_on_startup is None else flag("load_on_startup", load_on_startup)
        with self._lock:
            if name in self._known():
                raise RpcError(
                    WALLET_ERROR,
                    f"Wallet file verification failed. Failed to create database path '{name}'. "
                    "Database already exists.",
                )
            if not _NAME.fullmatch(name):
                raise RpcError(WALLET_ERROR, "the name of a wallet has up to 64 letters, digits, dots, dashes and _")
            self._load(name)
            self._keep(name, starts)
        return {"name": name}

    def loadwallet(self, filename: object, load_on_startup: object = None) -> Json:
        """Load a wallet that was made before."""
        name = text("filename", filename)
        starts = None if load_on_startup is None else flag("load_on_startup", load_on_startup)
        with self._lock:
            if name in self._loaded:
                raise RpcError(WALLET_ALREADY_LOADED, f'Wallet "{name[:64]}" is already loaded.')
            if name not in self._known():
                raise RpcError(
                    WALLET_NOT_FOUND,
                    f"Wallet file verification failed. Failed to load database path '{name[:64]}'. "
                    "Path does not exist.",
                )
            self._load(name)
            if starts is not None:
                self._keep(name, starts)
        return {"name": name}

    def listwallets(self) -> list[str]:
        """Names of the wallets that are loaded."""
        with self._lock:
            return list(self._loaded)

    def listwalletdir(self) -> Json:
        """Names of the wallets that there are."""
        with self._lock:
            return {"wallets": [{"name": name} for name in self._known()]}

    def _unload(self, selected: str | None, wallet_name: object = None, load_on_startup: object = None) -> Json:
        """``unloadwallet``: the wallet of the path, or the one that is named. Its keys and coins stay."""
        if selected is None and wallet_name is None:
            raise RpcError(TYPE_ERROR, "JSON value of type null is not of expected type string")
        name = selected if wallet_name is None else text("wallet_name", wallet_name)
        if name is None or selected not in (None, name):
            raise RpcError(INVALID_PARAMETER, "RPC endpoint wallet and wallet_name parameter specify different wallets")
        starts = None if load_on_startup is None else flag("load_on_startup", load_on_startup)
        with self._lock:
            if self._loaded.pop(name, None) is None:
                raise RpcError(WALLET_NOT_FOUND, _UNKNOWN)
            if starts is not None:
                self._keep(name, starts)
        return {}

    # -- files -------------------------------------------------------------------------------

    def _known(self) -> list[str]:
        found = set(self._stores)
        if self._folder is not None:
            found |= {path.stem for path in (self._folder / "wallets").glob("*.json") if _NAME.fullmatch(path.stem)}
        return sorted(found)

    def _store(self, name: str) -> Store:
        store = self._stores.get(name)
        if store is None:
            path = None
            if self._folder is not None:
                path = self._folder / "wallets" / f"{name}.json" if name else self._folder / "wallet.json"
            store = self._stores[name] = Store(path, self._random(64))
        return store

    def _load(self, name: str) -> NodeWallet:
        wallet = self._wallets.get(name)
        if wallet is None:
            wallet = self._wallets[name] = NodeWallet(self._chain, self._store(name), self._random)
        calls = WalletCalls(self._chain, self._network, wallet, name).table()
        self._loaded[name] = calls | RawCalls(self._chain, self._network, wallet).table()
        return wallet

    def _keep(self, name: str, load_on_startup: bool) -> None:
        store = self._store(name)
        store.kept.load_on_startup = load_on_startup
        store.save()
