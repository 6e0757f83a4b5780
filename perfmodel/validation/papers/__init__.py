"""One module per reference paper."""
