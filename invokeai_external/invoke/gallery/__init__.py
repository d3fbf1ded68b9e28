"""Where Invoke's images go: into the gallery, the result cache or the fallback folder."""
