from types import SimpleNamespace

current_platform = SimpleNamespace(device_type="cpu", is_cpu=lambda: True)
