"""The commands of ``python -m fluid_ai``, a file for each."""
