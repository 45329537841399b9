use proptest::prelude::*;
use simattn_kernels::cpu::embedding::{forward, table_gradient};
use simattn_random::stream;

use crate::{assert_each, assert_same_on_any_number_of_threads, normals, over_nan};

fn ids(count: usize, rows: usize) -> Vec<u32> {
    let mut numbers = stream(count as u64, "ids");
    (0..count)
        .map(|_| numbers.below(rows as u64) as u32)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_are_gathered_and_their_gradients_added(count in 0..300_usize, rows in 1..60_usize, width in 0..50_usize) {
        let (table, dy, ids) = (normals("table", rows * width), normals("dy", count * width), ids(count, rows));
        let y = over_nan(count * width, |out| forward(width, &table, &ids, out));
        let mut sums = vec![0.0; rows * width];
        for (n, &id) in ids.iter().enumerate() {
            for c in 0..width {
                prop_assert_eq!(y[n * width + c], table[id as usize * width + c]);
                sums[id as usize * width + c] += f64::from(dy[n * width + c]);
            }
        }
        let d_table = over_nan(rows * width, |out| table_gradient(width, rows, &ids, &dy, out));
        assert_each("d table", &d_table, &sums, 1e-6, 1e-4);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (count, rows, width) = (4000, 700, 130);
    let (dy, ids) = (normals("dy", count * width), ids(count, rows));
    assert_same_on_any_number_of_threads(|| {
        vec![over_nan(rows * width, |out| {
            table_gradient(width, rows, &ids, &dy, out)
        })]
    });
}

#[test]
#[should_panic(expected = "id 4 in a table of 4 rows")]
fn an_id_without_a_row_is_refused() {
    table_gradient(
        1,
        4,
        &[4],
        &[0.0],
        &mut [std::mem::MaybeUninit::uninit(); 4],
    );
}
