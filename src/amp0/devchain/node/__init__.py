"""An Elements node's face: the JSON-RPC calls that issuers' tools make, over the development chain.

:func:`~amp0.devchain.node.face.build_node` puts the parts together. What is not in the table of calls is answered
as a node answers an unknown method (-32601).
"""
