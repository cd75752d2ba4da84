"""The one real node: a guest that runs containerd, runc, the bridge CNI, kube-proxy and the kubelet.

`boot` is the host's side; `guest` is the guest's one command, `settings` what both agree on, `files` the
configuration of the node's programs.
"""
