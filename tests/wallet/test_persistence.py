"""What a wollet keeps on disk: complete, encrypted, and never worth losing sleep over."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from amp0.chain.backend import Update
from amp0.elements.confidential import Opening
from amp0.elements.transaction import OutPoint, TxOut
from amp0.errors import ConfigError, InvalidInput, StaleUpdate
from amp0.wallet.persistence import Record
from amp0.wallet.wollet import Wollet, WolletBuilder
from tests.chain.fake_explorer import LBTC, NETWORK, pay, send
from tests.wallet.test_wollet import AMP0, POLICY, WPKH, at, header, update_for


def stored(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def forbid_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Opening:
        raise AssertionError("opened again")

    monkeypatch.setattr("amp0.wallet.scripts.unblind", never)
    monkeypatch.setattr("amp0.wallet.scripts.opens", never)


def filled(folder: Path) -> Wollet:
    wollet = Wollet(NETWORK, AMP0, folder)
    deposit, other = pay(AMP0, (1, 500)), pay(AMP0, (2, 600), (3, 8))
    wollet.apply_update(update_for(wollet, {deposit: at(3)}))
    wollet.apply_update(update_for(wollet, {other: at(10)}, height=11))
    wollet.apply_transaction(send(OutPoint(deposit.txid(), 0)))
    return wollet


def assert_same(one: Wollet, two: Wollet) -> None:
    assert one.balance() == two.balance()
    assert one.tip() == two.tip()
    assert [utxo.outpoint() for utxo in one.utxos()] == [utxo.outpoint() for utxo in two.utxos()]
    assert [utxo.opening for utxo in one.txos()] == [utxo.opening for utxo in two.txos()]
    assert [(tx.txid(), tx.status, tx.balance()) for tx in one.transactions()] == [
        (tx.txid(), tx.status, tx.balance()) for tx in two.transactions()
    ]
    assert one.scan_request(0).state == two.scan_request(0).state
    assert one.scan_request(0).known == two.scan_request(0).known
    assert one.scan_request(0).last_used == two.scan_request(0).last_used


def test_restart(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    wollet = filled(tmp_path)
    sealed = wollet.unattributed()
    request.getfixturevalue("forbid_opening")
    again = Wollet(NETWORK, AMP0, tmp_path)
    assert_same(again, wollet)
    assert again.unattributed() == sealed == []
    # Unspent coins keep the range proof that a PSET shows; everything else is slim.
    assert all(utxo.txout.range_proof for utxo in again.utxos())
    assert len(stored(tmp_path).read_bytes()) < 3 * 6000
    again.apply_update(update_for(again, height=12))
    assert_same(Wollet(NETWORK, AMP0, tmp_path), again)


def test_explicit_outputs_survive(tmp_path: Path) -> None:
    from amp0.elements.transaction import Transaction, TxIn
    from tests.chain.fake_explorer import stranger_coin

    wollet = Wollet(NETWORK, AMP0, tmp_path)
    half = TxOut(AMP0.script_bytes(3), pay(AMP0, (1, 5)).vout[0].asset_field, b"\x01" + bytes(8))
    tx = Transaction.of(2, 0, [TxIn(stranger_coin())], [TxOut.explicit(AMP0.script_bytes(2), LBTC, 9), half])
    wollet.apply_update(update_for(wollet, {tx: at(3)}))
    again = Wollet(NETWORK, AMP0, tmp_path)
    assert [utxo.satoshi for utxo in again.explicit_utxos()] == [9]
    assert [sealed.outpoint for sealed in again.unattributed()] == [OutPoint(tx.txid(), 1)]


def test_nothing_readable_on_disk(tmp_path: Path) -> None:
    wollet = filled(tmp_path)
    data = stored(tmp_path).read_bytes()
    for tx in wollet.transactions():
        assert bytes(tx.txid()) not in data
    assert AMP0.script_bytes(1) not in data
    assert str(AMP0)[:60].encode() not in data
    assert stored(tmp_path).stat().st_mode & 0o077 == 0


def test_each_descriptor_has_its_own_file(tmp_path: Path) -> None:
    wollet = filled(tmp_path)
    other = Wollet(NETWORK, WPKH, tmp_path)
    assert other.balance() == {POLICY: 0}
    other.apply_update(update_for(other))
    assert len(list(tmp_path.iterdir())) == 2
    assert_same(Wollet(NETWORK, AMP0, tmp_path), wollet)


def test_torn_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A crash or a full disk leaves part of a record: the rest stands, and is written on."""
    filled(tmp_path)
    path = stored(tmp_path)
    data = path.read_bytes()
    caplog.set_level(logging.WARNING)
    heights = set()
    for cut in [*range(60), *range(60, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:cut])
        wollet = Wollet(NETWORK, AMP0, tmp_path)
        heights.add(None if wollet.tip() is None else wollet.tip().height())  # type: ignore[union-attr]
        wollet.apply_update(update_for(wollet, height=20))
        assert Wollet(NETWORK, AMP0, tmp_path).tip() == header(20)
    assert heights == {None, 10, 11}
    assert "damaged tail" in caplog.text


def test_damaged_anywhere(tmp_path: Path) -> None:
    """A changed byte costs the records from there on, never a wrong balance or a crash."""
    filled(tmp_path)
    path = stored(tmp_path)
    data = path.read_bytes()
    whole = Wollet(NETWORK, AMP0, tmp_path).balance()
    for place in [*range(60), *range(60, len(data), 499)]:
        path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
        assert Wollet(NETWORK, AMP0, tmp_path).balance() in (
            {POLICY: 0},
            {POLICY: 500},
            {POLICY: 1108},
            whole,
        )


def test_records_cannot_be_moved(tmp_path: Path) -> None:
    wollet = Wollet(NETWORK, AMP0, tmp_path)
    ends = [0]
    for height in (1, 2, 3):
        wollet.apply_update(update_for(wollet, height=height))
        ends.append(stored(tmp_path).stat().st_size)
    path, data = stored(tmp_path), stored(tmp_path).read_bytes()
    # The second record left out: what follows is not in its place.
    path.write_bytes(data[: ends[1]] + data[ends[2] :])
    assert Wollet(NETWORK, AMP0, tmp_path).tip() == header(1)


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    one, two = Wollet(NETWORK, AMP0, tmp_path), Wollet(NETWORK, AMP0, tmp_path)
    one.apply_update(update_for(one, height=1))
    one.apply_update(update_for(one, height=2))
    three = Wollet(NETWORK, AMP0, tmp_path)
    three.apply_update(update_for(three, height=3))
    with pytest.raises(StaleUpdate, match="another wallet process"):
        one.apply_update(update_for(one, height=3))
    assert Wollet(NETWORK, AMP0, tmp_path).tip() == header(3)
    assert two.tip() is None


def test_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("amp0.wallet.wollet._COMPACT_RECORDS", 5)
    wollet = filled(tmp_path)
    for height in range(12, 20):
        wollet.apply_update(update_for(wollet, height=height))
    assert wollet._file is not None
    assert wollet._file.records <= 5
    request.getfixturevalue("forbid_opening")
    again = Wollet(NETWORK, AMP0, tmp_path)
    assert_same(again, wollet)
    again.apply_update(update_for(again, height=20))
    assert_same(Wollet(NETWORK, AMP0, tmp_path), again)
    assert [path.suffix for path in tmp_path.iterdir()] == [".log"]


def test_delete_and_start_anew(tmp_path: Path) -> None:
    filled(tmp_path)
    stored(tmp_path).unlink()
    assert Wollet(NETWORK, AMP0, tmp_path).never_scanned()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError):
        Wollet(NETWORK, AMP0, blocked / "sub")


def test_builder_with_folder(tmp_path: Path) -> None:
    builder = WolletBuilder(NETWORK, AMP0)
    builder.with_legacy_fs_store(tmp_path / "deep" / "er")
    wollet = builder.build()
    wollet.apply_update(update_for(wollet))
    assert not Wollet(NETWORK, AMP0, tmp_path / "deep" / "er").never_scanned()


def test_records_round_trip() -> None:
    tx = pay(AMP0, (1, 5))
    openings = {OutPoint(tx.txid(), 0): Opening(LBTC, 5, b"\x01" * 32, b"\x02" * 32)}
    update = Update.of(base=bytes(32), tip=header(1))
    for content in (tx, update):
        record = Record(b"\x07" * 32, content, openings)
        raw = record.serialize()
        assert Record.parse(raw) == record
        for cut in range(0, len(raw), 101):
            with pytest.raises(InvalidInput):
                Record.parse(raw[:cut])
        with pytest.raises(InvalidInput):
            Record.parse(raw + b"\x00")
        with pytest.raises(InvalidInput):
            Record.parse(b"\x05" + raw[1:])
