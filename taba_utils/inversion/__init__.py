"""Inversion methods: one file each, on top of `taba_utils.ddim.walk`."""
