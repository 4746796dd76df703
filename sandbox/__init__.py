"""Simulators of every outside system, with families and faults. Own process, real sockets, nothing of gateway imported."""
