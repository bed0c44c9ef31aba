"""What emitted files with Triton kernels contain besides kernels; their text is taken from here."""
