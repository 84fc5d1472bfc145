"""One page a file, each a function `show(hub, person)`."""
