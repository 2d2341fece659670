# SPDX-License-Identifier: Apache-2.0
"""npu_identity.hpp: what a device is recognised by.

Apart from npu_spec.hpp, so that a change of a comment in npu.toml, which changes the digest, compiles a few files."""
from .source import HEAD, SPDX


def emit(spec):
    return "\n".join([
        f"// {SPDX}", f"// {HEAD}", "#pragma once", "", "#include <cstdint>", "", "namespace lastmile::spec {", "",
        f"inline constexpr std::uint32_t kMagic = {spec.magic:#x};",
        f"inline constexpr std::uint32_t kSpecHash = {spec.digest:#010x};", "", "}  // namespace lastmile::spec", ""])
