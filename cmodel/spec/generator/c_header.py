# SPDX-License-Identifier: Apache-2.0
"""npu_spec.h: what a host in C needs: registers and their values."""
from .source import HEAD, SPDX


def emit(spec):
    o = [f"/* {SPDX} */", f"/* {HEAD} */", "#ifndef LASTMILE_NPU_SPEC_H", "#define LASTMILE_NPU_SPEC_H", "",
         f"#define LM_MAGIC {spec.magic:#x}u", f"#define LM_SPEC_HASH {spec.digest:#010x}u"]
    o += [f"#define LM_{n} {spec.constants[n].value}" 
          for n in ("DESC_BYTES", "ALIGN", "MAX_PAIRS", "LOSS_FRACTION", "COEF_MAX")]
    for name in ("error", "engine", "polarity", "distribution"):
        e = spec.enums[name]
        o += ["", f"/* {e.doc} */"]
        o += [f"#define LM_{name.upper()}_{k} {v}u" for k, v in e.values.items()]
    o += ["", "/* register byte offsets */"]
    o += [f"#define LM_REG_{n} {r.offset:#05x}u" for n, r in spec.registers.items()]
    o += [f"#define LM_REG_PAIR_STRIDE {spec.registers['PAIR_COEF'].stride}u",
          f"#define LM_REG_COUNTER_STRIDE {spec.registers['COUNTER'].stride}u", "",
          "/* fields of registers: lowest bit, and mask in place */"]
    for r in spec.registers.values():
        for f in r.fields:
            o.append(f"#define LM_{r.name}_{f.name}_LSB {f.lsb}u")
            o.append(f"#define LM_{r.name}_{f.name}_MASK {f.mask:#x}u")
    o += ["", "/* counters, by index */"]
    o += [f"#define LM_COUNTER_{n} {i}u" for i, n in enumerate(spec.counters)]
    return "\n".join(o + ["", "#endif", ""])
