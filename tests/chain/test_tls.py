"""Explorers over TLS: whose certificates are believed. Certificates are made here, servers are on loopback."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from amp0.chain.esplora import EsploraClient
from amp0.errors import BackendUnavailable, ConnectionTimeout
from amp0.network import Network
from tests.chain.fake_explorer import NETWORK
from tests.patience import PATIENCE

TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def _uses(authority: bool) -> x509.KeyUsage:
    """What a key may be used for; from Python 3.13 on an authority without it is not believed."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A certificate authority of our own."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self.cert = self._sign(self.name, self.key.public_key(), TODAY + 10 * DAY, authority=True)
        self.pem = self.cert.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        until: datetime.datetime,
        *,
        authority: bool = False,
        host: str = "127.0.0.1",
    ) -> x509.Certificate:
        address = x509.IPAddress(ipaddress.ip_address(host))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 20 * DAY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(_uses(authority), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def server(
        self, folder: Path, *, host: str = "127.0.0.1", until: datetime.datetime = TODAY + DAY
    ) -> ssl.SSLContext:
        """A server's side with a certificate for ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        cert = self._sign(name, key.public_key(), until, host=host)
        path = folder / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + cert.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


HASH = b"11" * 32


def ask(context: ssl.SSLContext | None, network: Network, *, drip: bool = False, timeout: float = PATIENCE) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n" + HASH
            if drip:
                for byte in answer:
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0.01)
            writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def main() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        scheme, port = ("http" if context is None else "https"), server.sockets[0].getsockname()[1]
        async with EsploraClient(f"{scheme}://127.0.0.1:{port}", network, timeout=timeout) as client:
            try:
                return str(await client._explorer.tip_hash())
            finally:
                server.close()

    return asyncio.run(main())


def test_the_networks_own_authority(authority: Authority, tmp_path: Path) -> None:
    network = NETWORK.replace(cert_roots=(authority.pem,))
    assert ask(authority.server(tmp_path), network) == "11" * 32


def test_a16_unknown_authority(authority: Authority, tmp_path: Path) -> None:
    """A16: a certificate nobody we trust has signed."""
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate"):
        ask(authority.server(tmp_path), NETWORK)
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate"):
        ask(authority.server(tmp_path), NETWORK.replace(cert_roots=(Authority().pem,)))


def test_a16_certificate_of_another_host(authority: Authority, tmp_path: Path) -> None:
    """A16: a good certificate, of somebody else."""
    network = NETWORK.replace(cert_roots=(authority.pem,))
    with pytest.raises(BackendUnavailable, match=r"(?i)not valid for"):
        ask(authority.server(tmp_path, host="10.1.2.3"), network)


def test_a16_expired_certificate(authority: Authority, tmp_path: Path) -> None:
    """A16: a certificate of yesterday."""
    network = NETWORK.replace(cert_roots=(authority.pem,))
    with pytest.raises(BackendUnavailable, match="expired"):
        ask(authority.server(tmp_path, until=TODAY - DAY), network)


def test_a15_one_byte_at_a_time() -> None:
    """A15: a server that drips its answer is cut off at the deadline for the whole of it."""
    with pytest.raises(ConnectionTimeout):
        ask(None, NETWORK, drip=True, timeout=0.1)
