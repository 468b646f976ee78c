"""A judge or a policy on the workers of a Ray cluster.

engine: the driver's side, with the interface of a local engine
cluster: the cluster of this process, joined and left
stream: batches -> answers as they finish
source: the driver's queue as a data set of Ray Data
wire: prompts, requests and replies as text
worker: the worker's side: an engine that answers batches
"""
