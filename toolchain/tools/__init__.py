"""What the workshop runs on: each tool as its project releases it, and as it is built.

To be built, a tool has a folder in `toolchain/modules/` whose go.mod and go.sum fix the versions
of all that goes into it. Nothing here asks a registry for a list of versions.

- `tool`: what a tool is
- `embedded`, `host_node`, `kind`: which there are, by the kind of cluster that needs them
"""

from toolchain.tools.embedded import *  # noqa: F403
from toolchain.tools.host_node import *  # noqa: F403
from toolchain.tools.kind import *  # noqa: F403
from toolchain.tools.tool import *  # noqa: F403
