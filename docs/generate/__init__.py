"""Writes the generated parts of the README and the docs: ``make docs``, or ``python -m docs.generate [--images]``.

pages         finds the generated parts and rewrites them; ``BLOCKS`` names the function of each
help_texts    the output of ``--help``
catalogue     the tables of models, sizes, options and prices
reference     the tables of settings, errors and the sandbox's faults, and the mask instruction
layout        the package's folders and modules, with the first sentence of each docstring
demo_images   the images in ``docs/images/``, made by the demo
markdown      tables and fenced blocks
"""
