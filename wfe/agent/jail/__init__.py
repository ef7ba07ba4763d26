"""How the kernel holds a process that runs untrusted code. Standard library alone: `launch` runs under any interpreter.

Knows system calls. Does not know nodes, models, workflows or who asked.
"""
