"""Targets, loss and the LightningModule."""
