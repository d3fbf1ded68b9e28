"""Image files as bytes in, bytes out: inspected, with text written in, made ready to send, masked, edits composited.

Nothing here touches the disk or the network, and a bad file raises ``ImageError`` and nothing else. PNG, JPEG and WebP
are taken apart at the level of their chunks and segments, so that pixels stay as they were encoded. Pillow takes a
while to load: ``pixels`` and the modules that import it load it, ``errors``, ``formats``, ``embed`` and ``metadata``
do not.
"""
