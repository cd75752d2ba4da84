"""Host the components of this package for Pulumi's engine."""

from pulumi.provider.experimental import component_provider_host

from components.packaged import PACKAGE, VERSION, IoController

if __name__ == "__main__":
    component_provider_host([IoController], PACKAGE, version=VERSION)
