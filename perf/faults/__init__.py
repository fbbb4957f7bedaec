"""Faults that small real runs must survive."""
