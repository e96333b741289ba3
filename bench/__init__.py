"""``python -m bench``: how fast this package is, beside LWK doing the same work and beside what cryptography allows.

Every row runs the path that applications run: ``Amp0.address``, ``finish_for_amp0``, ``full_scan_to_index``,
``Amp0(…)``, ``POST /delayed_signature``, ``POST /tx``. The servers run in processes of their own (``amp0 stack run``,
``amp0 server run``), and so does LWK. Samples of both sides alternate, so that a busy moment of the machine meets
both. Floors are compared with floors (the fastest sample) and medians with medians; all samples go into
``bench.json``.

* :mod:`bench.floors` — what the primitives cost: the published figures, and the same measured here and now;
* :mod:`bench.others` — how busy the machine was with other things meanwhile;
* :mod:`bench.world` — the processes: stack, server, LWK;
* :mod:`bench.rows` — the rows, one function each;
* :mod:`bench.capacity` — the rows of what one server carries, with :mod:`bench.served` and :mod:`bench.swarm`;
* :mod:`bench.policy` — the row of what the rules of an asset cost;
* :mod:`bench.report` — machine, table, JSON.
"""
