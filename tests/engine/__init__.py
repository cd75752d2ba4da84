"""The bench: the project's Pulumi program on the real engine, a real API server and the real Kubernetes
provider.

What is real: pulumi, its Kubernetes provider, etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
What stands in: the cloud (`cloud/`, by the rules that AWS and Docker document), nodes, volumes and load
balancers (`nodes.py`, `volumes.py`), the chart repository (`charts.py`) and the experiment's Job
(`runner.py`).
"""
