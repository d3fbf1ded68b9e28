"""The version of the package, and of its metadata."""

VERSION = "0.1.0"
