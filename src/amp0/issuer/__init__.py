"""The client of the issuer API, written with ``async``; :mod:`amp0.blocking` has the same for plain callers.

``IssuerClient`` has a method for each endpoint, and three operations that go from a request to its confirmation and
can be called again after a crash: ``distribute``, ``reissue`` and ``burn``, with a ``Treasury`` such as an Elements
node (``NodeTreasury``).
"""

from amp0.issuer.client import IssuerClient
from amp0.issuer.operations import Done
from amp0.issuer.treasury import Move, NodeTreasury, Treasury
from amp0.issuer.walk import Progress, Report
from amp0.protocol.issuer import Issue, Outpoint

__all__ = ["Done", "Issue", "IssuerClient", "Move", "NodeTreasury", "Outpoint", "Progress", "Report", "Treasury"]
