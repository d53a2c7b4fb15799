"""Speed and memory against peers, as ratios: `make bench`."""
