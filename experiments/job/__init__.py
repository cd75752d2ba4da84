"""The experiment inside a cluster: one pod measures one scenario and leaves its results in a ConfigMap.

exposition   values out of Prometheus's text format
counters     sums over pods that only grow, and how often one began anew
account      the controller's /status, cut down to what a verdict reads
observer     scrape everything once a second
recording    observations and load as a `drcio.run/1` record
peers        several load generators side by side: a common start, one merged record
configmap    read and patch the one ConfigMap
publish      judge, and write results and record within an object's size
measure      the whole: wait, load, judge, publish
cli          the command line

No kernel file of the node can be read here, so what the twin's sampler reads from cgroups comes from the
workloads' own counters and from the controller's account instead. Study and verdict are the same code.
"""
