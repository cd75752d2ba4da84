"""The five images: built from their Dockerfiles, and put into a node's image store without a registry.

`engine` is a Docker of our own, `base` what the Dockerfiles start from, `build` makes the images, `store` the
disk that a node boots with.
"""
