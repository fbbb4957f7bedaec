"""Planted responders: real models with a known bias, and whether each benchmark and metric finds it.

A responder is the model with something added to its logits, given the tokens so far; the softmax does the rest, and
the benchmark does not know. `logits` says what can be added, `knowledge` from what it can depend, `planted` what must
be measured. A benchmark has one function here, in `catalogue`, from the benchmark to its responders.
"""
