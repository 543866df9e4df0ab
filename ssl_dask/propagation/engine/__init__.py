"""The loop of sweeps that every propagation method runs.

Read in this order: `recurrence`, `propagate`, `session`, `partitions`, `partition_solver`, then
`kernels/propagation/sweep`.
"""
