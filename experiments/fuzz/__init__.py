"""A distribution as the bench: random mixes of work, each under the law, without any, and under fixed knobs.

`mix` is the distribution, `arms` what is compared, `simulated` runs an arm on the simulated node,
`judge` holds the results against what is wanted, `drive` does many seeds.
"""
