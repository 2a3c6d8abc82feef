"""Measure the network and the whole pipeline on this machine."""


def add_arguments(p):
    pass
