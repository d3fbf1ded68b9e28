"""The one seam: everything of Invoke that is not its public node API is touched here and nowhere else.

The other modules may import names of the node API and of data types, from the modules that the contract test lists;
every touch of a running service, a registry, a router or a private attribute is here.

Each function says why it is needed; all of it was seen in 6.13.0 and in 6.14.2 where nothing else is said. Those that
change Invoke are context managers that change it back, so that an uninstall leaves nothing behind. The contract test
(``tests/host/test_host_contract.py``) reads here what is used of Invoke, and looks for it in a running one; it follows
what hangs on an imported name or on an argument of an imported type.
"""
