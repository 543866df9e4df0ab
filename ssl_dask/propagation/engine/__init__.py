"""The loop of sweeps that every propagation method runs.

Read in this order: `recurrence`, `session`, `partitions`, `partition_solver`, then
`kernels/propagation/sweep`.
"""
