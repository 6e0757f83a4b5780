"""Physical models of GPU kernels: pure functions of plain arrays, device facts and a few named corrections.

Each family has one function ``<family>_time(sizes..., gpu, c) -> KernelTime`` and one frozen dataclass of
dimensionless corrections that start at their documented value.  Tile shapes and split factors are a last
array axis; the fastest candidate answers, as the libraries' heuristics intend.
"""
