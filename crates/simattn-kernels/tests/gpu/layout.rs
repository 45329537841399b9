//! How the rows of tensors lie in memory. On CUDA and ROCm there may be room between them; devices
//! without that show nothing of a kernel that does not expect it, so tests make the room.

use burn::tensor::Tensor;

/// Values between two rows: enough bytes that a slice that leaves them out is a view, on every
/// device.
const ROOM: usize = 64;

/// How the rows of an operation's inputs lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One right after the other.
    EndToEnd,
    /// With room between them.
    Padded,
}

impl Rows {
    /// Both.
    pub const ALL: [Self; 2] = [Self::EndToEnd, Self::Padded];

    /// `x` with its rows lying so; what is between them is not a number.
    pub fn of<const R: usize>(self, x: Tensor<R>) -> Tensor<R> {
        match self {
            Self::EndToEnd => x,
            Self::Padded => {
                let (shape, mut room) = (x.dims(), x.dims());
                room[R - 1] = ROOM;
                let between = Tensor::full(room, f32::NAN, (&x.device(), x.dtype()));
                Tensor::cat(vec![x, between], R - 1).slice(shape.map(|length| 0..length))
            }
        }
    }

    /// Σ y·dy, a function whose gradient by `y` is `dy` with its rows lying so.
    pub fn weighted_sum<const R: usize>(self, y: Tensor<R>, dy: Tensor<R>) -> Tensor<1> {
        match self {
            Self::EndToEnd => (y * dy).sum(),
            Self::Padded => (wider(y) * wider(dy)).sum(),
        }
    }
}

/// `x` as the beginning of longer rows, the rest zero. Its gradient is a slice of theirs.
fn wider<const R: usize>(x: Tensor<R>) -> Tensor<R> {
    let (shape, mut wide) = (x.dims(), x.dims());
    wide[R - 1] += ROOM;
    let zeros = Tensor::zeros(wide, (&x.device(), x.dtype()));
    zeros.slice_assign(shape.map(|length| 0..length), x)
}
