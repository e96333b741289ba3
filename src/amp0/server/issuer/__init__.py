"""The issuer's side of the server: the REST API under ``/api`` and the operations behind it."""
