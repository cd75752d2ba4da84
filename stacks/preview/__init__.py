"""The program run without an engine: every object, the graph, a picture of it, files for `kubectl apply`.

The program itself imports none of this; `stacks.render` is its command line.
"""
