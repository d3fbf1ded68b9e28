"""The version of this package, in the one place from which the package's metadata is built as well."""

VERSION = "0.1.0"
