"""A judge behind a server with the OpenAI chat API, asked live or in batches.

engine: a served judge as scorer; many questions under way at once
client: one question until it is answered, with retries and limits
likelihood: one question about likelihoods, in several requests
given_text: the tokens of a prompt, and those of the response in it
batch: the server's batch endpoint
batch_reply: what a batch endpoint says
address: the servers that a user names, and their keys struck out
guards: bounds on sizes, waits, ids and numbers of a server
http: one request and its outcome; the one place that opens connections
reading: an answer -> a reply with its cost, and what is learnt of the server
hopeless: a refusal that ends all questions -> the error with the server's words
refusal: what a server says when it refuses, in any shape
reply: the verdict and its log-probabilities in a reply
spelling: the text of the tokens that a server lists
prompt: segmented messages -> plain chat messages
settings: the settings of a request, without those that the server refuses
rate_limit: the server's limits per minute
one_model: whether all answers come from one served model
"""
