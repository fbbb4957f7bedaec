"""Interventions of your own: each file here defines one, of its name, as ARM.

The kit finds them by themselves; `conf/intervention/<name>.yaml` beside the others makes it a choice of
`intervention=`. docs/tutorial.md writes one.
"""
