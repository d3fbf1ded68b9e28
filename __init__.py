"""Lets this repository be cloned straight into the ``nodes`` folder of an Invoke root.

Invoke loads this file under the name of its folder. The package beside it imports itself relatively, so that it lives
under that name, wherever it was cloned to and whatever is installed beside it.
"""

if __package__:
    from .invokeai_external.invoke.entry_point import activate

    activate(__name__)
