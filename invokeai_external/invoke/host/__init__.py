"""The only package that uses more of Invoke than its public node API.

The other modules may import names of the node API and of data types, from the modules that the contract test lists. The
running services, the registries, the router and all private names of Invoke are used only here.

Each function says why it is needed; it works like this in 6.13.0 and 6.14.2 unless it says otherwise. The functions
that change Invoke are context managers that undo the change, so that an uninstall leaves nothing behind. The contract
test (``tests/host/test_host_contract.py``) reads in this package which names of Invoke it uses, and looks for them in a
running Invoke.
"""
