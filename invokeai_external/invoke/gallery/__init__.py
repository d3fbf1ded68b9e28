"""Where the images of a run go in Invoke: into the gallery, the result cache or the fallback folder."""
