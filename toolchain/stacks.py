"""Pulumi on this checkout: the environment that it runs in, and the committed stacks."""

from __future__ import annotations

import os
import shutil

from toolchain import layout, processes, proxies
from toolchain.errors import SetupError


def environment(own_plugins: bool = True) -> dict[str, str]:
    """What `.tools/env` sets, besides PATH."""
    settings = {
        "PULUMI_BACKEND_URL": f"file://{layout.ROOT / '.state'}",
        "PULUMI_HOME": str(layout.PULUMI_HOME),
        # The stacks hold no secret.
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The program and all that it runs read and write UTF-8, whatever the locale says.
        "PYTHONUTF8": "1",
    }
    if own_plugins:
        settings["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return settings


def write_environment(own_plugins: bool) -> bool:
    """Write `.tools/env`; returns whether it changed."""
    lines = [
        "# Source this to use pulumi on this checkout's stacks. What kubectl asks stays as it was,",
        "# maybe a cluster of your own: `make shell STACK=NAME` has it ask that of a stack.",
        f'export PATH="{layout.BIN}:$PATH"',
        'no_proxy="${no_proxy:-${NO_PROXY:-}}"',
        f'export no_proxy="${{no_proxy:+$no_proxy,}}{",".join(proxies.LOCAL)}"',
        'export NO_PROXY="$no_proxy"',
    ]
    lines += [f'export {key}="{value}"' for key, value in environment(own_plugins).items()]
    text = "\n".join(lines) + "\n"
    path = layout.TOOLS / "env"
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True


def make_stacks() -> bool:
    """Make the committed stacks that Pulumi's state lacks; returns whether there were such."""
    made = layout.ROOT / ".state" / ".pulumi" / "stacks" / "dra-workshop"
    missing = [s for s in layout.committed_stacks() if not (made / f"{s}.json").exists()]
    for stack in missing:
        run_pulumi("stack", "init", stack, "--no-select", "--non-interactive")
    return bool(missing)


def run_pulumi(*arguments: str) -> None:
    path = f"{layout.BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    done = processes.run(
        [shutil.which("pulumi", path=path) or "pulumi", *arguments],
        cwd=layout.ROOT,
        env=os.environ | environment() | {"PATH": path},
    )
    if done.returncode:
        raise SetupError(f"pulumi {' '.join(arguments)} failed: {done.stderr.strip()}")
