from tests.images.contract import loaded_with


def test_loading_the_manifest_loads_nothing_else() -> None:
    heavy = ("aiohttp", "hdrh", "load_generator.")
    loaded = loaded_with("load_generator.manifest")
    assert [name for name in loaded if name.startswith(heavy)] == ["load_generator.manifest"]
