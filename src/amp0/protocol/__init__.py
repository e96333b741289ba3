"""What both ends of the Green backend speak. Pure: no sockets, no clocks."""
