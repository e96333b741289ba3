from __future__ import annotations

import os
from pathlib import Path

import pytest

from amp0.errors import ConfigError
from amp0.server.settings import Listener, Settings


def test_without_anything_the_server_is_a_local_one() -> None:
    settings = Settings.from_environment({"HOME": "/root"})
    assert settings == Settings()
    assert settings.store_url() == "sqlite://"
    assert all(listener.is_loopback() for listener in settings.listen)


def test_the_environment_is_read_by_name_and_type() -> None:
    settings = Settings.from_environment(
        {
            "AMP0_NETWORK": "liquid",
            "AMP0_DATA_DIR": "/srv/amp0",
            "AMP0_LISTEN": "127.0.0.1:1, [::1]:2",
            "AMP0_ALLOWED_ORIGINS": "https://a.example,https://b.example",
            "AMP0_WORKERS": "7",
            "AMP0_POLL_SECONDS": "0.5",
            "AMP0_CHAIN_URL": "https://blockstream.info/liquid/api",
        }
    )
    assert settings.network == "liquid"
    assert settings.store_url() == "sqlite:////srv/amp0/amp0.sqlite"
    assert settings.listen == (Listener("127.0.0.1", 1), Listener("::1", 2))
    assert settings.allowed_origins == ("https://a.example", "https://b.example")
    assert (settings.workers, settings.poll_seconds) == (7, 0.5)
    assert settings.chain_network().is_mainnet()


def test_an_override_wins_unless_it_is_none() -> None:
    settings = Settings.from_environment({"AMP0_WORKERS": "7"}, workers=3, network=None)
    assert (settings.workers, settings.network) == (3, "liquidregtest")


@pytest.mark.parametrize("name", ["AMP0_MAX_FEES", "AMP0_", "AMP0_network", "AMP0_PASSPHRASE"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings.from_environment({name: "1"})


def test_a_misspelt_name_is_told_what_was_meant_and_not_all_of_eighty() -> None:
    with pytest.raises(ConfigError, match="did you mean AMP0_WORKERS") as error:
        Settings.from_environment({"AMP0_WORKER": "1"})
    assert "AMP0_PREFLIGHT_REQUESTS" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMP0_WORKERS", "many"),
        ("AMP0_WORKERS", "0"),
        ("AMP0_WORKERS", "-1"),
        ("AMP0_NETWORK", "bitcoin"),
        ("AMP0_CHAIN_URL", "127.0.0.1:3000"),
        ("AMP0_LISTEN", "8080"),
        ("AMP0_LISTEN", "host:99999"),
        ("AMP0_LISTEN", ""),
    ],
)
def test_values_that_do_not_parse_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        Settings.from_environment({name: value})


def test_an_issuance_that_would_cost_too_much_is_refused_before_there_is_one() -> None:
    """A zero too many would empty the wallet that pays for issuances, one issuance at a time."""
    with pytest.raises(ConfigError, match="issue_fee_rate is 100001 satoshi"):
        Settings.from_environment({"AMP0_ISSUE_FEE_RATE": "100001"})
    assert Settings.from_environment({"AMP0_ISSUE_FEE_RATE": "100000"}).issue_fee_rate == 100_000


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        Settings.from_environment({}, colour="red")


def test_the_passphrase_comes_from_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b"correct horse\n")
    path.chmod(0o600)
    assert Settings(passphrase_file=path).read_passphrase() == b"correct horse"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        Settings(passphrase_file=path).read_passphrase()


def test_j03_the_passphrase_comes_from_a_descriptor() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"correct horse")
    os.close(writing)
    assert Settings(passphrase_fd=reading).read_passphrase() == b"correct horse"


def test_an_empty_or_missing_passphrase_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    with pytest.raises(ConfigError):
        Settings(passphrase_file=path).read_passphrase()
    path.touch(0o600)
    with pytest.raises(ConfigError):
        Settings(passphrase_file=path).read_passphrase()
    assert Settings().read_passphrase() is None
