from __future__ import annotations

import base64
import os

import pytest

from amp0.protocol import rpc

from .talking import CallError, Wallet, World, in_world


def hmac_text(number: int) -> str:
    return base64.b64encode(number.to_bytes(32, "big")).decode()


BLOB = base64.b64encode(b"x" * 100).decode()


def test_b03_registration_is_idempotent_and_the_first_one_wins() -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        await alice.register(client)
        data = await alice.log_in(client)
        for change in (
            {"master_chain_code": "11" * 32},
            {"gait_path": "22" * 64},
        ):
            with pytest.raises(CallError) as refused:
                await (await world.joined()).call(alice.registration(**change))
            assert refused.value.name == "registrationconflict"
        # The user agent is no part of the registration.
        assert await client.call(alice.registration(user_agent="another")) is True
        assert (await alice.log_in(client)).gait_path == data.gait_path == alice.gait_path.hex()

    in_world(scene)


def test_b03_on_every_database(database_url: str) -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        with pytest.raises(CallError, match="registrationconflict"):
            await client.call(alice.registration(gait_path="22" * 64))
        await alice.log_in(client)

    in_world(scene, url=database_url)


@pytest.mark.parametrize(
    "change",
    [
        {"master_pubkey": "04" + "11" * 32},
        {"master_pubkey": "02" + "ff" * 32},
        {"master_pubkey": "02"},
        {"master_chain_code": "zz" * 32},
        {"gait_path": "11" * 63},
    ],
)
def test_registrations_out_of_shape_are_refused(change: dict[str, str]) -> None:
    async def scene(world: World) -> None:
        client = await world.joined()
        with pytest.raises(CallError) as refused:
            await client.call_uri(rpc.Register.URI, Wallet("alice").registration(**change).args())
        assert refused.value.name == "invalid"

    in_world(scene)


# --- client blob ---------------------------------------------------------------------------------------------------


def test_b10_the_blob_is_compared_and_swapped() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        first, second = await world.logged_in(alice), await world.logged_in(alice)
        empty = await first.call(rpc.GetClientBlob())
        assert empty == {"blob": "", "hmac": rpc.ZERO_HMAC, "sequence": 0}
        assert await first.call(rpc.SetClientBlob(BLOB, 0, hmac_text(1), rpc.ZERO_HMAC)) is True
        other = base64.b64encode(b"other").decode()

        # The second writer has seen nothing of it: it gets what is there, and nothing changes.
        lost = await second.call(rpc.SetClientBlob(other, 0, hmac_text(2), rpc.ZERO_HMAC))
        assert lost == {"blob": BLOB, "hmac": hmac_text(1), "sequence": 0}
        assert await second.call(rpc.SetClientBlob(other, 0, hmac_text(2), hmac_text(1))) is True

        # An old version does not come back without the HMAC of the present one.
        rolled_back = await first.call(rpc.SetClientBlob(BLOB, 0, hmac_text(1), rpc.ZERO_HMAC))
        assert rolled_back == {"blob": other, "hmac": hmac_text(2), "sequence": 0}
        assert await first.call(rpc.GetClientBlob()) == {"blob": other, "hmac": hmac_text(2), "sequence": 0}

    in_world(scene)


def test_the_same_write_again_after_a_lost_answer_is_a_success() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        write = rpc.SetClientBlob(BLOB, 0, hmac_text(1), rpc.ZERO_HMAC)
        assert await client.call(write) is True
        assert await client.call(write) is True

    in_world(scene)


@pytest.mark.parametrize(
    ("blob", "hmac"),
    [
        ("A" * (256 * 1024 + 4), hmac_text(1)),
        ("", hmac_text(1)),
        ("AAA", hmac_text(1)),
        ("A=A=", hmac_text(1)),
        (BLOB, rpc.ZERO_HMAC),
        (BLOB, "A" * 43),
        (BLOB, base64.b64encode(bytes(33)).decode()),
    ],
)
def test_b10_blobs_out_of_bounds_are_refused(blob: str, hmac: str) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        with pytest.raises(CallError) as refused:
            await client.call_uri(rpc.SetClientBlob.URI, [blob, 0, hmac, rpc.ZERO_HMAC])
        assert refused.value.name in ("invalid", "toolarge")
        assert (await client.call(rpc.GetClientBlob()))["hmac"] == rpc.ZERO_HMAC

    in_world(scene)


def test_the_largest_blob_is_taken() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        blob = base64.b64encode(os.urandom(192 * 1024)).decode()
        assert len(blob) == 256 * 1024
        assert await client.call(rpc.SetClientBlob(blob, 0, hmac_text(1), rpc.ZERO_HMAC)) is True
        assert (await client.call(rpc.GetClientBlob()))["blob"] == blob

    in_world(scene)


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_appearance_comes_back_verbatim() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client = await world.logged_in(alice)
        signed_in = await client.call_uri(rpc.Authenticate.URI, [await signature(alice, client)])
        assert signed_in["appearance"]["use_segwit"] is True
        appearance = {"unit": "sats", "use_segwit": True, "notifications_settings": {"email_incoming": False}}
        assert await client.call(rpc.SetAppearance(appearance)) is True
        signed_in = await client.call_uri(rpc.Authenticate.URI, [await signature(alice, client)])
        assert signed_in["appearance"] == appearance
        with pytest.raises(CallError, match="toolarge"):
            await client.call(rpc.SetAppearance({"x": "y" * 2000}))

    in_world(scene)


async def signature(wallet: Wallet, client: object) -> str:
    from amp0.protocol import credentials

    return credentials.sign_challenge(wallet.master, await wallet.challenge(client))  # type: ignore[arg-type]


def test_plain_answers() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        assert await client.call(rpc.GetMemos()) == {"bip70": {}, "memos": {}}
        assert await client.call(rpc.GetSyncStatus()) == {"username": ""}
        assert (await client.call(rpc.GetAvailableCurrencies()))["all"] == ["USD"]
        estimates = await client.call(rpc.GetFeeEstimates())
        assert estimates["min"] == estimates["1"]["feerate"] == 0.000001

    in_world(scene)
