"""Checks and times a packed build (pack.sh) on a machine with a GPU; see measure.py --packed."""
