"""A node's block layer and a remote volume in simulation: what decides who waits for whom, and nothing else.

`node.c` is the model, `build` compiles it once, `node` is its face in Python.
"""
