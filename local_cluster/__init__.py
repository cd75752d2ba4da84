"""A Kubernetes cluster on this machine: a real control plane on loopback, the node twin as its one real node.

`control_plane` is what runs on the host, `node` what boots and what runs in the guest, `images` the images
that are built here, `cluster` the life of all of it. Above the platform and the experiment: it uses both, and
neither knows it.
"""
