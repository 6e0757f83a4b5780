"""Importers: workloads from files of other tools."""
