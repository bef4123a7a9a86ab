"""Faults at random, and a judge: `python -m tests.chaos --runs 20 --seed 1`."""
