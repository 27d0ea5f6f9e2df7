"""Whole trees in and out of a domain, with all that a file has: for `bt import` and `bt export`.

records   what is carried over of a file, and the interfaces of both ends
moving    carrying, and comparing afterwards
trees, disks, archives   the three kinds of ends: a domain, a local directory, a tar file
"""
