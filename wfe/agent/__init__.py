"""Writing workflows and nodes from plain language: drafted by a language model, checked, tried, repaired, kept.

A generated node is a target like any other: its inputs are a specification, a model and the prompts. Nothing here
schedules or prints; whoever calls hears events.
"""
