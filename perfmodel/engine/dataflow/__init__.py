"""Dataflow engine: mappings of loop nests on memory hierarchies and spatial arrays, their accesses and costs."""
