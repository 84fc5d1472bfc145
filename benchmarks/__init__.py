"""What `make bench` measures: ratios taken in one run, never absolute promises."""
