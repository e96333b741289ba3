"""Every endpoint once, on each kind of database: statements that one of them does not take are found here."""

from __future__ import annotations

from amp0.server.issuer import principals
from amp0.server.issuer.endpoint import Who
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.issuer.table import ENDPOINTS

from .office import NETWORK, Office
from .samples import body, things

LAST = ("/delete", "/lock", "/remove", "/cancel", "/change-password", "/refresh-token")


def test_every_endpoint_on_each_kind_of_database(database_url: str) -> None:
    office = Office(url=database_url, wallet=FeeWallet(bytes(32), NETWORK))
    acme = things(office, "acme")
    mary = office.manager(acme.api, "mary", acme.asset.id)
    done = 0
    # What takes something away comes last.
    for endpoint in sorted(ENDPOINTS, key=lambda endpoint: endpoint.path.endswith(LAST)):
        for method in endpoint.methods:
            caller = mary if endpoint.who is Who.MANAGER else acme.api
            with office.transaction() as db:
                caller.token = principals.live_token(db, office.desk, caller.id)
            answer = caller.request(method, acme.path(endpoint), body(endpoint, acme))
            assert answer.status_code < 500, (method, endpoint.path, answer.text)
            assert answer.status_code not in (401, 403, 405), (method, endpoint.path, answer.text)
            done += answer.status_code == endpoint.status
    assert done > len(ENDPOINTS) / 2, "most of them did what they are for"
    office.close()
