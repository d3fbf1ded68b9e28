"""The three formats that can be taken apart, one module each."""
