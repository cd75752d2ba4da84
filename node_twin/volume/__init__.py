"""The twin's volumes: their images in the host's memory, and the device that takes as long as EBS does.

`device/` is that device's program, in C; `blockdevice` starts it in the guest.
"""
