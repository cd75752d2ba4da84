"""The bench: the project's Pulumi program on the real engine, API server and Kubernetes provider.

What is real: pulumi, its Kubernetes provider, etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
What stands in: the cloud (`cloud/`, by the rules that AWS and Docker document), nodes, volumes and load
balancers (`nodes.py`, `volumes.py`), the chart repository (`charts.py`), the experiment's Job (`runner.py`).

    make test-engine
    python -m tests.engine.drive --like dev up batch.workers=8 up destroy   # one stack by hand
    python -m tests.engine.operations --write   # docs/operations.md, after make test-engine

The programs come from DRCIO_ENGINE, else PATH, else `make engine`. DRCIO_BENCH_LOG names a file to which
each operation's seconds, steps and error are appended.
"""
