//! Files put together from parts, with the lengths and sums that they must have.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Bytes of tensors at most.
const LARGEST: usize = 1 << 16;

/// Hexadecimal digits of a SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A safetensors file as the two parts that [`safetensors`] takes.
///
/// # Panics
/// Where it is none.
pub fn safetensors_parts(file: &[u8]) -> [Vec<u8>; 2] {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes"));
    let (head, data) = file[8..].split_at(length as usize);
    [head.to_vec(), data.to_vec()]
}

/// A safetensors file. The head's length is that of `head`. Where `fit`, the data are repeated or
/// cut to the length that the head describes, and the places of the tensors follow from their
/// shapes, one after the other.
pub fn safetensors(head: &[u8], data: &[u8], fit: bool) -> Vec<u8> {
    let mut head = head.to_vec();
    let mut data = data.to_vec();
    if fit && let Ok(Value::Object(mut map)) = serde_json::from_slice(&head) {
        let mut end = 0;
        for (_, tensor) in map.iter_mut().filter(|(name, _)| *name != "__metadata__") {
            let size = size(tensor);
            if let (Some(size), Value::Object(tensor)) = (size, tensor)
                && end + size <= LARGEST
            {
                tensor.insert("data_offsets".into(), vec![end, end + size].into());
                end += size;
            }
        }
        head = Value::Object(map).to_string().into_bytes();
        if data.is_empty() {
            data.push(0);
        }
        data = data.into_iter().cycle().take(end).collect();
    }
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head);
    file.extend(data);
    file
}

/// Bytes of a tensor by its type and shape.
fn size(tensor: &Value) -> Option<usize> {
    let bits: usize = match tensor.get("dtype")?.as_str()? {
        "F32" | "I32" | "U32" => 32,
        "F16" | "BF16" | "I16" | "U16" => 16,
        "F64" | "I64" | "U64" => 64,
        _ => 8,
    };
    let shape = tensor.get("shape")?.as_array()?;
    let mut lengths = shape.iter().map(|length| length.as_u64());
    let count = lengths.try_fold(1_u64, |all, length| all.checked_mul(length?))?;
    usize::try_from(count.checked_mul(bits as u64 / 8)?).ok()
}
