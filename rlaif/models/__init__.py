"""Models behind one interface: the engines that sample and judge, and what they share.

interface: what an engine must be, for whoever asks it
open: the table of engines, the one place that tells them apart
readings: a question about likelihoods -> conversations, each with the response that is read
slot: the place in memory that one engine at a time may hold
budget: hard caps on calls, tokens and money
install: how rlaif and its extras are installed
scripted_engine: a judge that is a Python function
tokens/: chats -> token ids in which text cannot become a control token
replies/: a judge's text -> its verdict
weights/: model folders, loaded, checked and saved
local/: the engine on this machine, with transformers
vllm/: the engine on this machine, with vLLM
endpoint/: the engine behind a server with the OpenAI chat API
ray/: an engine spread over the workers of a Ray cluster
"""
