//! Rows of a table by number on CubeCL devices, and the gradient of the table, without atomics.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::rows::{COLUMNS, PER_COLUMN, THREADS, cubes, sum_of_column, threads};
use super::tensor::{addresses, element, unwritten, zeros};

/// `y[t, c] = table[ids[t], c]`, zero for an id without a row; one thread a value.
#[cube(launch, address_type = "dynamic")]
fn take_rows<F: Float, I: Int>(
    table: &Tensor<F>,
    ids: &Tensor<I>,
    y: &mut Tensor<F>,
    #[define(F, I)] _elements: [ElemType; 2],
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let width = table.shape(1);
    let id = i32::cast_from(ids[ABSOLUTE_POS / width]);
    let mut value = F::cast_from(f32::new(0.0));
    if id >= 0 && (id as usize) < table.shape(0) {
        value = table[id as usize * width + ABSOLUTE_POS % width];
    }
    y[ABSOLUTE_POS] = value;
}

/// `order` [N] lists the tokens by id and, for one id, as they come; one thread a token.
///
/// A token's place is the number of tokens before it: all ids pass through shared memory, and every
/// thread compares them with its own.
#[cube(launch, address_type = "dynamic")]
fn order_tokens<I: Int>(ids: &Tensor<I>, order: &mut Tensor<u32>, #[define(I)] _element: ElemType) {
    let tokens = ids.len();
    let unit = UNIT_POS as usize;
    let token = CUBE_POS * THREADS + unit;
    let mut mine = i32::new(0);
    if token < tokens {
        mine = i32::cast_from(ids[token]);
    }
    let mut place = u32::new(0);
    let mut others = Shared::<[i32]>::new_slice(THREADS);
    let mut first = comptime!(0usize).runtime();
    while first < tokens {
        sync_cube();
        if first + unit < tokens {
            others[unit] = i32::cast_from(ids[first + unit]);
        }
        sync_cube();
        let mut end = first + THREADS;
        if end > tokens {
            end = tokens;
        }
        for i in 0..(end - first) {
            let other = others[i];
            let before = other < mine || (other == mine && first + i < token);
            place += select(before, u32::new(1), u32::new(0));
        }
        first += THREADS;
    }
    if token < tokens {
        order[place as usize] = token as u32;
    }
}

/// Row r of the gradient [V, C] is the sum of the rows of `dy` [N, C] whose id is r. One cube a
/// place in `order`, x and y, and `COLUMNS` columns, z: it adds all tokens of its id if they begin
/// at its place, and nothing else.
#[cube(launch, address_type = "dynamic")]
fn sum_uses<F: Float, I: Int>(
    ids: &Tensor<I>,
    order: &Tensor<u32>,
    dy: &Tensor<F>,
    d_table: &mut Tensor<F>,
    #[define(F, I)] _elements: [ElemType; 2],
) {
    let tokens = order.len();
    let width = d_table.shape(1);
    let unit = UNIT_POS as usize;
    let column = CUBE_POS_Z as usize * COLUMNS + unit % COLUMNS;
    let begin = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    // Beyond the last token, no thread finds anything to add.
    let mut id = i32::new(-1);
    if begin < tokens {
        id = i32::cast_from(ids[order[begin] as usize]);
        if begin > 0 {
            let before = i32::cast_from(ids[order[begin - 1] as usize]);
            id = select(before == id, i32::new(-1), id);
        }
    }
    let wanted = id >= 0 && (id as usize) < d_table.shape(0) && column < width;
    let mut sum = f32::new(0.0);
    let mut place = begin + unit / COLUMNS;
    if !wanted {
        place = tokens;
    }
    while place < tokens {
        let token = order[place] as usize;
        if i32::cast_from(ids[token]) == id {
            sum += f32::cast_from(dy[token * width + column]);
            place += PER_COLUMN;
        } else {
            place = tokens;
        }
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let sum = sum_of_column(sum, &mut scratch);
    if wanted && unit < COLUMNS {
        d_table[id as usize * width + column] = F::cast_from(sum);
    }
}

/// The rows of `table` [V, C] that `ids` [..] name: [.., C]. An id without a row gives zeros.
pub(crate) fn embedding_rows(table: CubeTensor, ids: CubeTensor) -> CubeTensor {
    let [table, ids] = [table, ids].map(into_contiguous);
    let [_, width] = table.meta.shape().dims();
    let shape: Shape = ids
        .meta
        .shape()
        .iter()
        .copied()
        .chain([width])
        .collect::<Vec<_>>()
        .into();
    let y = unwritten(&table, shape, table.dtype);
    let values = y.meta.num_elements();
    if values > 0 {
        take_rows::launch(
            &y.client,
            calculate_cube_count_elemwise(&y.client, values, threads()),
            threads(),
            addresses(&[&table, &y]),
            table.into_tensor_arg(),
            ids.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            [element(&y), element(&ids)],
        );
    }
    y
}

/// The gradient [rows, C] of a table from `dy` [.., C]; the same bits every time.
///
/// N tokens are put in order by N² comparisons in shared memory, and then each id's rows are added
/// by eight threads a column, in an order that the ids fix. For 32,768 tokens that is 1.1·10⁹
/// comparisons over 128 cubes, of four instructions or so: some tenths of a millisecond on a device
/// of 10¹³ instructions a second, on which ids move 16 MiB through shared memory. The sums read dy
/// once, and the longest takes an eighth of its id's uses in turn. The table of zeros beneath,
/// 50,304 × C, is written once. A thread a column over all tokens would take 32,768 dependent steps
/// in C threads, and a scan of all ids by each of 50,304 rows 1.6·10⁹ reads.
pub(crate) fn table_gradient(rows: usize, ids: CubeTensor, dy: CubeTensor) -> CubeTensor {
    let [ids, dy] = [ids, dy].map(into_contiguous);
    let width = dy.meta.shape().last().copied().unwrap_or(1);
    let tokens = ids.meta.num_elements();
    let d_table = zeros(&dy, [rows, width], dy.dtype);
    if tokens == 0 || width == 0 {
        return d_table;
    }
    let order = unwritten(&dy, [tokens], DType::U32);
    order_tokens::launch(
        &dy.client,
        cubes(tokens.div_ceil(THREADS)),
        threads(),
        addresses(&[&ids]),
        ids.clone().into_tensor_arg(),
        order.clone().into_tensor_arg(),
        element(&ids),
    );
    let along = tokens.min(32_768);
    sum_uses::launch(
        &dy.client,
        CubeCount::Static(
            along as u32,
            tokens.div_ceil(along) as u32,
            width.div_ceil(COLUMNS) as u32,
        ),
        threads(),
        addresses(&[&dy, &d_table]),
        ids.clone().into_tensor_arg(),
        order.into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        d_table.clone().into_tensor_arg(),
        [element(&dy), element(&ids)],
    );
    d_table
}
