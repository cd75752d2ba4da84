"""The node twin: a virtual machine that stands for a node, with a real kernel and a volume as slow as EBS's.

    host      boots it and talks to it: any user, no cloud, no image
    guest     what runs in it: its first program, the looks at its knobs and counters
    volume    the block device that takes its time as EBS does
    kubelet   makes pods out of manifests, each in the cgroup in which a node has it
    check     holds the volume against its own formula

It knows no experiment: what is run on it, and what is made of what was seen, is its users' affair.
"""
