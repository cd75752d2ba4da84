"""The controller's side of the Kubernetes API: pods of one node, and Events about them.

jsontypes    what a decoded JSON document is, and how to look into one
pod          the Pod as the controller sees it
endpoint     where the API server is and how to prove who we are
client       requests, one method each
backoff      how long to wait after a failure
informer     list, then watch, for ever
events       Events on pods, aggregated and rate-limited
errors       everything that can go wrong
"""
