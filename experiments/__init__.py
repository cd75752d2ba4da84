"""The experiment: runs service and batch job on a target, records what it reads, judges, reports.

commands    the command line: options become specifications, specifications runs
targets     what makes a planned run into a record: a node twin, or a stack on a cluster
job         the same experiment as one pod in a cluster
records     what is asked for and what was read
judgement   from records to figures, from figures to a verdict
report      the page and its pictures
metrics     a run's Prometheus data
response    how quickly the controller reacts
fuzz        the law on random mixes of work, on the twin or on the `simulator`
"""
