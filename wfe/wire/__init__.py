"""How two processes talk: frames over a pair of pipes, value trees, and blocks of shared memory.

Standard library only (NumPy where it is installed), Python 3.10 or newer: a worker of any environment imports this.
Knows nothing of workflows, keys, stores or of the processes at either end.
"""
