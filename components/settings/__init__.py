"""Stack configuration, read and validated once; nothing else in the program reads it.

Every rejected value gives one line that names the key, the value and what is allowed.
"""

import re
from collections.abc import Mapping
from types import SimpleNamespace

from components.settings.model import SETTINGS, Settings
from components.settings.rules import problems
from components.settings.setting import SettingsError

__all__ = ["Settings", "SettingsError", "parse", "read"]

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def read() -> Settings:
    """The settings of the stack that is being deployed.

    Raises pulumi.RunError, which Pulumi prints without a traceback.
    """
    import pulumi  # who only checks settings need not wait for it

    config = pulumi.Config()
    prefix = f"{config.name}:"
    given = {
        key.removeprefix(prefix): value
        for key, value in pulumi.runtime.config.CONFIG.get().items()
        if key.startswith(prefix)
    }
    try:
        return parse(given, pulumi.get_stack())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def parse(given: Mapping[str, str], stack: str) -> Settings:
    """Settings from raw configuration: key → string, arrays as JSON text.

    Raises SettingsError for the first value that cannot be used.
    """
    keys = [setting.key for setting in SETTINGS.values()]
    for key, value in given.items():
        if key not in keys:
            raise SettingsError(key, value, f"there is no such key; keys: {', '.join(keys)}")
    if not DNS_LABEL.fullmatch(stack):
        raise SettingsError("stack name", stack, "use small letters, digits and inner hyphens")
    found = SimpleNamespace(stack=stack, configuration={})
    for field, setting in SETTINGS.items():
        value = setting.read(given, found)
        setattr(found, field, value)
        found.configuration[setting.key] = setting.as_json(given, value)
    settings = Settings(**vars(found))
    for problem in problems(settings):
        raise SettingsError(*problem)
    return settings
