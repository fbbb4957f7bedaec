"""See what an intervention does to the batch of a step, before training on it: python -m interventions.preview"""
