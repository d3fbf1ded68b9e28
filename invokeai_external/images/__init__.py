"""Image files, from bytes to bytes: inspect, embed text, prepare to send, convert masks, composite edits.

Nothing here touches the disk or the network, and a bad file raises ``ImageError`` and nothing else. PNG, JPEG and WebP
are edited at the level of their chunks and segments, so that pixels stay as they were encoded. Pillow takes a while to
load: ``pixels`` and the modules that import it load it; ``errors``, ``formats``, ``embed`` and ``metadata`` do not.
"""
