"""Networks that are not language models: each module builds one family with a `Net`."""
