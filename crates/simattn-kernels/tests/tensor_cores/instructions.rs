//! `ldmatrix` and `mma.m16n8k16` as the PTX ISA describes them, for all 32 threads of a plane at once.

/// Two values in one register of a thread.
pub type Pair = [f32; 2];

/// Registers of every thread: of a left operand, or of two right operands beside one another.
pub type Operand = [[Pair; 4]; 32];

/// A product's results in every thread.
pub type Sum = [[Pair; 2]; 32];

/// 16 bytes of shared memory: eight values of two bytes.
pub type Chunk = [f32; 8];

/// `ldmatrix.x4`: thread 8·m + r gives the address of row r of matrix m. Thread t gets the two
/// neighbouring values t % 4 of row t / 4, or with `turned` those of the transposed matrix.
pub fn ldmatrix(memory: &[Chunk], address: impl Fn(usize) -> usize, turned: bool) -> Operand {
    let mut registers = Operand::default();
    for (thread, registers) in registers.iter_mut().enumerate() {
        for (matrix, pair) in registers.iter_mut().enumerate() {
            for (nth, value) in pair.iter_mut().enumerate() {
                let (row, column) = (thread / 4, 2 * (thread % 4) + nth);
                let (row, column) = if turned { (column, row) } else { (row, column) };
                *value = memory[address(8 * matrix + row)][column];
            }
        }
    }
    registers
}

/// The row and the term of value `i` of thread `thread`'s left operand.
pub fn place_in_left(thread: usize, i: usize) -> (usize, usize) {
    let row = thread / 4 + if matches!(i, 0 | 1 | 4 | 5) { 0 } else { 8 };
    (row, thread % 4 * 2 + i % 2 + if i < 4 { 0 } else { 8 })
}

/// The term and the column of value `i` of thread `thread`'s right operand.
fn place_in_right(thread: usize, i: usize) -> (usize, usize) {
    (
        thread % 4 * 2 + i % 2 + if i < 2 { 0 } else { 8 },
        thread / 4,
    )
}

/// The row and the column of value `i` of thread `thread`'s results.
pub fn place_in_sum(thread: usize, i: usize) -> (usize, usize) {
    (
        thread / 4 + if i < 2 { 0 } else { 8 },
        thread % 4 * 2 + i % 2,
    )
}

/// `mma.m16n8k16`: adds the product of the operands to `sum`. The right one is half `half` of what
/// one [`ldmatrix`] brought.
pub fn mma(sum: &mut Sum, left: &Operand, right: &Operand, half: usize) {
    let mut a = [[0.0; 16]; 16];
    let mut b = [[0.0; 8]; 16];
    for thread in 0..32 {
        for i in 0..8 {
            let (row, term) = place_in_left(thread, i);
            a[row][term] = left[thread][i / 2][i % 2];
        }
        for i in 0..4 {
            let (term, column) = place_in_right(thread, i);
            b[term][column] = right[thread][2 * half + i / 2][i % 2];
        }
    }
    for (thread, sum) in sum.iter_mut().enumerate() {
        for i in 0..4 {
            let (row, column) = place_in_sum(thread, i);
            let product: f32 = (0..16).map(|term| a[row][term] * b[term][column]).sum();
            sum[i / 2][i % 2] += product;
        }
    }
}
