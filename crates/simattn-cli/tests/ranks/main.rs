//! One run on several processes: the same bytes on any number of them, and an end to every fault.
//!
//! Most of this needs the feature `mpi` and an `mpirun`; without them the tests say that they skip.
//! `SIMATTN_MPIRUN` holds another launcher than Open MPI's with its options.

#[path = "../common/mod.rs"]
mod common;

mod bits;
mod faults;
mod job;
mod kills;
mod overlap;
mod refused;
