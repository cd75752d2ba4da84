"""The Pulumi program: a stack from its settings to its outputs.

`stack` is its spine: `platform` (a cluster), `images` (what its pods run), `workloads` (what the scenario
consists of), `outputs`. `render` shows all of it without an engine.

    configuration    what is asked, and what is refused before anything is made
    guards           what is there already, and which changes it cannot take
    cost             what it costs
    preview          the program run without an engine
"""
