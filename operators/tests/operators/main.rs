//! Each operator against a naive recomputation, at every epoch, over random schedules with one to three workers.

mod containers;
mod counts;
mod fold;
mod footprints;
mod gather;
mod greatest;
mod harness;
mod latest;
mod median;
mod ordered;
mod rank;
mod state_sizes;
mod top;
