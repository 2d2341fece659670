# SPDX-License-Identifier: Apache-2.0
"""npu.svd: the registers for debuggers and for generators of drivers (CMSIS-SVD 1.3)."""
from xml.sax.saxutils import escape

from .source import HEAD, SPDX

ACCESS = {"ro": "read-only", "rw": "read-write", "w1c": "read-write", "wo": "write-only"}


def text(tag, value, indent):
    return f"{' ' * indent}<{tag}>{escape(str(value))}</{tag}>"


def enumerated(spec, f):
    """An enum as names of values, where the field is narrow enough for tools to list them."""
    if not f.enum:
        return []
    e = spec.enums[f.enum]
    o = ["              <enumeratedValues>"]
    for name, value in e.values.items():
        o += ["                <enumeratedValue>", text("name", name, 18)]
        if name in e.docs:
            o.append(text("description", e.docs[name], 18))
        o += [text("value", value, 18), "                </enumeratedValue>"]
    return o + ["              </enumeratedValues>"]


def field(spec, r, f):
    o = ["            <field>", text("name", f.name, 14)]
    doc = f"parameter {f.parameter}" if f.parameter else f.doc
    if doc:
        o.append(text("description", f"log2 of {doc}" if f.log2 else doc, 14))
    o += [text("bitOffset", f.lsb, 14), text("bitWidth", f.width, 14)]
    if r.access == "w1c":
        o.append(text("modifiedWriteValues", "oneToClear", 14))
    o += enumerated(spec, f)
    if f.limited and not f.signed and not f.enum:
        o += ["              <writeConstraint>", "                <range>", text("minimum", f.limits[0], 18),
              text("maximum", f.limits[1], 18), "                </range>", "              </writeConstraint>"]
    return o + ["            </field>"]


def register(spec, r):
    o = ["        <register>"]
    if r.array:
        o += [text("dim", r.count, 10), text("dimIncrement", r.stride, 10)]
    o += [text("name", r.name + ("%s" if r.array else ""), 10), text("description", r.doc or r.name, 10),
          text("addressOffset", f"{r.offset:#x}", 10), text("access", ACCESS[r.access], 10),
          text("resetValue", f"{r.reset:#x}", 10)]
    if r.fields:
        o.append("          <fields>")
        for f in r.fields:
            o += field(spec, r, f)
        o.append("          </fields>")
    return o + ["        </register>"]


def emit(spec):
    o = ['<?xml version="1.0" encoding="utf-8"?>', f"<!-- {SPDX} -->", f"<!-- {HEAD} -->",
         '<device schemaVersion="1.3" xmlns:xs="http://www.w3.org/2001/XMLSchema-instance" '
         'xs:noNamespaceSchemaLocation="CMSIS-SVD.xsd">',
         text("name", "Lastmile", 2), text("version", f"{spec.contract}.{spec.digest:08x}", 2),
         text("description", "NPU that adapts a network on the device", 2),
         text("addressUnitBits", 8, 2), text("width", 32, 2),
         text("size", 32, 2), text("access", "read-write", 2), text("resetValue", "0x0", 2),
         text("resetMask", "0xffffffff", 2),
         "  <peripherals>", "    <peripheral>", text("name", "NPU", 6), text("baseAddress", "0x0", 6),
         "      <addressBlock>", text("offset", "0x0", 8),
         text("size", f"{spec.constants['REGISTER_BYTES'].value:#x}", 8),
         text("usage", "registers", 8), "      </addressBlock>",
         "      <interrupt>", text("name", "NPU", 8),
         text("description", "IRQ_STATUS and IRQ_ENABLE have a bit in common", 8),
         text("value", 0, 8), "      </interrupt>", "      <registers>"]
    for r in spec.registers.values():
        o += register(spec, r)
    return "\n".join(o + ["      </registers>", "    </peripheral>", "  </peripherals>", "</device>", ""])
