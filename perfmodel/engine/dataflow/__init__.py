"""Dataflow engine: mappings of loop nests on memory hierarchies and spatial arrays, accesses and costs."""
