"""A Liquid regtest chain in one process: blocks, mempool, explorer, faucet."""
