"""The container in which an experiment measures a cluster from inside; its code is `experiments.job`."""
