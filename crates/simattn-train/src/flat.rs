//! A tensor's numbers in a row, in this process's memory or on a device.

use std::ops::Range;

use burn::tensor::{Device, Shape, Tensor, TensorData};
use rayon::prelude::*;
use simattn_kernels::cpu::gradient_norm::squared_sums;
use simattn_kernels::ops::squared_norm_tensor;

/// Numbers a thread works on at a time.
const PIECE: usize = 1 << 15;

/// The numbers of one tensor without its shape.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a parameter tensor, and the numbers outweigh it"
)]
pub(crate) enum Flat {
    /// On the CPU backend: a slice costs less to walk than one operation after another.
    Host(Vec<f32>),
    /// Anywhere else.
    Device(Tensor<1>),
}

impl Flat {
    /// A tensor without an autodiff graph; on the CPU its buffer is taken over where nobody else
    /// holds it, and copied otherwise.
    pub(crate) fn from_tensor<const D: usize>(tensor: Tensor<D>) -> Self {
        if Self::is_host(&tensor.device()) {
            Self::Host(into_numbers(tensor))
        } else {
            let count = tensor.shape().num_elements();
            Self::Device(tensor.reshape([count]))
        }
    }

    /// Whether the tensors of a device lie in this process's memory.
    pub(crate) fn is_host(device: &Device) -> bool {
        device.clone().without_autodiff() == Device::flex()
    }

    /// Numbers that stand on the host, put where tensors of `device` stand.
    pub(crate) fn from_numbers(numbers: Vec<f32>, device: &Device) -> Self {
        let plain = device.clone().without_autodiff();
        if Self::is_host(&plain) {
            Self::Host(numbers)
        } else {
            Self::Device(Self::Host(numbers).into_tensor(&plain))
        }
    }

    /// Those in a range.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Host(mut numbers) if range.end == numbers.len() => {
                Self::Host(numbers.split_off(range.start))
            }
            Self::Host(numbers) => Self::Host(numbers[range].to_vec()),
            Self::Device(tensor) => Self::Device(part_of(&tensor, range)),
        }
    }

    /// As many zeros, in the same place.
    pub(crate) fn zeros_like(&self) -> Self {
        match self {
            Self::Host(numbers) => Self::Host(vec![0.0; numbers.len()]),
            Self::Device(tensor) => Self::Device(tensor.zeros_like()),
        }
    }

    /// Adds another one of the same length, number by number.
    pub(crate) fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Host(sum), Self::Host(other)) => {
                sum.par_chunks_mut(PIECE)
                    .zip(other.par_chunks(PIECE))
                    .for_each(|(sum, other)| {
                        for (sum, other) in sum.iter_mut().zip(other) {
                            *sum += other;
                        }
                    });
            }
            (this, other) => {
                let device = match (&*this, &other) {
                    (Self::Device(tensor), _) | (_, Self::Device(tensor)) => tensor.device(),
                    (Self::Host(_), Self::Host(_)) => Device::flex(),
                };
                let left = std::mem::replace(this, Self::Host(Vec::new())).into_tensor(&device);
                *this = Self::Device(left + other.into_tensor(&device));
            }
        }
    }

    /// The sum of the squares; in float64 on the CPU.
    pub(crate) fn square_sum(&self) -> f64 {
        match self {
            Self::Host(numbers) => squared_sums(&[numbers]).iter().sum(),
            Self::Device(tensor) => f64::from(tensor.clone().square().sum().into_scalar::<f32>()),
        }
    }

    /// The sum of the squares in float32, on `device` or where the numbers stand: nobody waits for
    /// it.
    pub(crate) fn square_sum_tensor(&self, device: &Device) -> Tensor<1> {
        match self {
            Self::Host(_) => Tensor::from_floats([self.square_sum() as f32], device),
            Self::Device(tensor) => squared_norm_tensor(tensor),
        }
    }

    /// A copy of the numbers.
    pub(crate) fn to_numbers(&self) -> Vec<f32> {
        match self {
            Self::Host(numbers) => numbers.clone(),
            Self::Device(tensor) => into_numbers(tensor.clone()),
        }
    }

    /// The numbers.
    pub(crate) fn into_numbers(self) -> Vec<f32> {
        match self {
            Self::Host(numbers) => numbers,
            Self::Device(tensor) => into_numbers(tensor),
        }
    }

    /// As a tensor with one axis on `device`.
    pub(crate) fn into_tensor(self, device: &Device) -> Tensor<1> {
        match self {
            Self::Host(numbers) => {
                let count = numbers.len();
                Tensor::from_data(TensorData::new(numbers, [count]), device)
            }
            Self::Device(tensor) => tensor,
        }
    }

    /// As a tensor of `shape`, which holds as many numbers, on `device`.
    pub(crate) fn into_shaped<const D: usize>(self, shape: Shape, device: &Device) -> Tensor<D> {
        match self {
            Self::Host(numbers) => Tensor::from_data(TensorData::new(numbers, shape), device),
            Self::Device(tensor) => tensor.reshape(shape),
        }
    }
}

/// The numbers of a tensor in a range.
pub(crate) fn part_of(tensor: &Tensor<1>, range: Range<usize>) -> Tensor<1> {
    if range.len() == tensor.dims()[0] {
        return tensor.clone();
    }
    tensor.clone().narrow(0, range.start, range.len())
}

/// A tensor with other numbers in a range.
pub(crate) fn with_part(tensor: Tensor<1>, range: Range<usize>, part: Tensor<1>) -> Tensor<1> {
    if range.len() == tensor.dims()[0] {
        return part;
    }
    tensor.slice_assign([range], part)
}

/// The numbers of a tensor as float32.
fn into_numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    data.try_into_vec_as()
        .expect("every float converts to float32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_tensors_add_and_square_like_host_numbers() {
        let numbers: Vec<f32> = (0..PIECE + 5).map(|at| (at % 7) as f32 - 3.0).collect();
        let tensor = |numbers: &[f32]| Flat::Host(numbers.to_vec()).into_tensor(&Device::flex());
        let mut host = Flat::Host(numbers.clone());
        host.add(Flat::Host(numbers.clone()));
        let mut device = Flat::Device(tensor(&numbers));
        device.add(Flat::Device(tensor(&numbers)));
        let exact: f64 = numbers.iter().map(|n| 4.0 * f64::from(*n).powi(2)).sum();
        assert_eq!(host.square_sum(), exact);
        assert!((device.square_sum() / exact - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_transposed_tensor_gives_its_numbers_in_its_own_order() {
        let tensor = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Device::flex());
        match Flat::from_tensor(tensor.transpose()) {
            Flat::Host(numbers) => assert_eq!(numbers, [1.0, 3.0, 2.0, 4.0]),
            Flat::Device(_) => panic!("the CPU backend is on the host"),
        }
    }
}
