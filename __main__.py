"""The Pulumi program: one graph from the network to the workloads; the configuration picks the scenario.

`python -m stacks.render --stack NAME` runs it without a cloud and shows what it would make.
"""

import pulumi

from stacks.configuration.config import load
from stacks.stack import build

for name, value in build(load()).items():
    pulumi.export(name, value)
