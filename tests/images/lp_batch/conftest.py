from hypothesis import settings

# The team's machines share their cores with emulated guests: a slow example says nothing about the code.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
