"""G03: the server is killed at each step of a confirm, and of making a distribution; then the client does it again.

Every statement of every transaction, every begin and every commit is one step, and the last ones lie after the commit
and before the answer. `make soak` dies at every one of them; the daily tests at every seventh, and at all that are
about the commit.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.server.issuer import assets, principals
from amp0.server.ledger import views
from amp0.server.store import asset_schema, schema
from amp0.server.store.engine import Store
from tests.patience import PATIENCE
from tests.server.issuer.office import Api, Office
from tests.server.issuer.test_burns import make as burn
from tests.server.issuer.test_burns import payload as of_burn
from tests.server.issuer.test_reissuance import make as reissue
from tests.server.issuer.test_reissuance import payload as of_reissue
from tests.server.issuer.treasury_desk import TreasuryDesk
from tests.server.killing import CONTEXT, Death, needs_sigkill

pytestmark = needs_sigkill
STRIDE, ABOUT_THE_COMMIT = 7, 6
CONTEXT.set_forkserver_preload(["tests.server.killing", __name__])

State = dict[str, Any]


def world(path: Path, prepare: Callable[[TreasuryDesk], tuple[str, str, Any]]) -> tuple[str, str, str, Any]:
    """A database in which something waits to be done: the token of who does it, method, path and body."""
    office = Office(f"sqlite:///{path}")
    desk = TreasuryDesk(office, office.issuer())
    method, where, body = prepare(desk)
    assert desk.api.token is not None
    office.close()
    return desk.api.token, method, where, body


def serve(path: Path, request: bytes, log: Path, die_at: int | None) -> None:
    """Do it, with a death at the ``die_at``-th step; the answer goes to the log, as it would leave."""
    token, method, where, body = pickle.loads(request)
    point = Death(die_at)
    office = Office()
    office.store.close()
    office.store = office.desk.store = Store.open(f"sqlite:///{path}", faults=point)
    point.armed = True
    answer = Api(office, token).request(method, where, body)
    point("answer")
    point.armed = False
    log.write_text(f"{answer.status_code} {answer.text}")
    log.with_suffix(".steps").write_text(str(point.steps))
    office.close()


def run(path: Path, request: tuple[str, str, str, Any], log: Path, die_at: int | None) -> bool:
    """True when it was killed."""
    log.unlink(missing_ok=True)
    process = CONTEXT.Process(target=serve, args=(path, pickle.dumps(request), log, die_at))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def state(path: Path) -> State:
    """Everything that a confirm may change, and the sums of the ledger."""
    store = Store.open(f"sqlite:///{path}")
    tables = ("distributions", "assignments", "reissuances", "burns", "asset_outputs", "asset_txs", "issuer_events")
    kept = (*tables, "treasury_addresses", "given_addresses")
    with store.snapshot() as db:
        found: State = {
            name: sorted(map(str, db.execute(sa.select(schema.metadata.tables[name])).all())) for name in kept
        }
        row = assets.load(db, 1)
        found["unaccounted"] = [views.unaccounted(db, row, is_token=is_token) for is_token in (False, True)]
        found["sums"] = [views.treasury(db, row), views.reissued(db, row), views.burned(db, row)]
    store.close()
    return found


def kill_everywhere(
    folder: Path,
    prepare: Callable[[TreasuryDesk], tuple[str, str, Any]],
    *,
    repeatable: bool,
    stride: int = STRIDE,
) -> None:
    """A death at every ``stride``-th step, and at all of the last; after each nothing or all of it is on record, and
    doing it (again) gives what an undisturbed run gives."""
    start, log = folder / "start.sqlite", folder / "answer"
    request = world(start, prepare)
    database = start.read_bytes()

    def fresh(name: str) -> Path:
        path = folder / f"{name}.sqlite"
        path.write_bytes(database)
        return path

    calm = fresh("calm")
    before = state(calm)
    assert not run(calm, request, log, None)
    answer, after = log.read_text(), state(calm)
    assert answer.startswith("200 ")
    assert after != before
    steps, deaths = int(log.with_suffix(".steps").read_text()), {"nothing": 0, "all": 0}
    late = range(max(1, steps - ABOUT_THE_COMMIT), steps + 1)
    for number in sorted({*range(1, steps, stride), *late}):
        path = fresh(str(number))
        assert run(path, request, log, number)
        found = state(path)
        assert found in (before, after), f"half of it is on record after step {number}"
        deaths["nothing" if found == before else "all"] += 1
        # Where nothing at all is on record, doing it again is what the undisturbed run did: a few of them show it.
        if (repeatable and found == after) or (found == before and number % (8 * stride) == 1):
            assert not run(path, request, log, None)
            assert log.read_text() == answer
            assert state(path) == after
    assert deaths["nothing"] >= 4, "fewer steps than there are"
    assert deaths["all"] >= 1


def a_distribution(desk: TreasuryDesk) -> tuple[str, str, Any]:
    for name, satoshi in (("bob", 600), ("carol", 300)):
        desk.assign(desk.holder(name)[0], satoshi)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    return "POST", desk.confirm_path(file), desk.confirm(sent, payments=2)


def a_reissue(desk: TreasuryDesk) -> tuple[str, str, Any]:
    sent = reissue(desk)
    desk.mine(sent.tx)
    desk.mine()
    return "POST", f"{desk.path}/reissue-confirm", of_reissue(sent)


def a_burn(desk: TreasuryDesk) -> tuple[str, str, Any]:
    sent = burn(desk)
    desk.mine(sent.tx)
    desk.mine()
    return "POST", f"{desk.path}/burn-confirm", of_burn(sent, 1)


def an_order(desk: TreasuryDesk) -> tuple[str, str, Any]:
    for name, satoshi in (("bob", 600), ("carol", 300)):
        desk.assign(desk.holder(name)[0], satoshi)
    return "GET", f"{desk.path}/distributions/create", None


def test_g03_killed_while_a_distribution_is_confirmed(tmp_path: Path) -> None:
    kill_everywhere(tmp_path, a_distribution, repeatable=True)


def test_g03_killed_while_a_reissue_is_confirmed(tmp_path: Path) -> None:
    kill_everywhere(tmp_path, a_reissue, repeatable=True)


def test_g03_killed_while_a_burn_is_confirmed(tmp_path: Path) -> None:
    kill_everywhere(tmp_path, a_burn, repeatable=True)


def test_g03_killed_while_a_distribution_is_made(tmp_path: Path) -> None:
    """Who lost the answer finds the distribution in the list, and its file beside it."""
    kill_everywhere(tmp_path, an_order, repeatable=False)
    office = Office(f"sqlite:///{tmp_path / 'calm.sqlite'}")
    table = asset_schema.principals
    with office.transaction() as db:
        number = db.execute(sa.select(table.c.id)).scalar_one()
        uuid = db.execute(sa.select(asset_schema.assets.c.uuid)).scalar_one()
        token = principals.live_token(db, office.desk, number)
    api = Api(office, token)
    (listed,) = api.ok("get", f"/assets/{uuid}/distributions")
    file = api.ok("get", f"/assets/{uuid}/distributions/{listed['distribution_uuid']}/file")
    assert list(file["map_address_amount"].values()) == [0.000006, 0.000003]
    office.close()


@pytest.mark.soak
@pytest.mark.parametrize("prepare", [a_distribution, a_reissue, a_burn])
def test_g03_killed_at_every_step_of_a_confirm(
    tmp_path: Path, prepare: Callable[[TreasuryDesk], tuple[str, str, Any]]
) -> None:
    kill_everywhere(tmp_path, prepare, repeatable=True, stride=1)


@pytest.mark.soak
def test_g03_killed_at_every_step_of_making_a_distribution(tmp_path: Path) -> None:
    kill_everywhere(tmp_path, an_order, repeatable=False, stride=1)
