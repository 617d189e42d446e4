"""The structured tongue: programmes that say what the mathematics says and no more.

Backends that exploit structure name them in ``Capabilities.structured`` and answer with a network and multipliers.
"""
